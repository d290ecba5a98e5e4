"""Rows in two files: questions in one, their answers in another, as VQA and OK-VQA publish them.

The second file is looked over once in each process, which keeps 16 bytes a row: a hash of its key, and where it stands.
A slice of the first file then reads the rows of the second that it needs, in runs, which are short where both files
have the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, cast

import numpy as np

from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS, Format
from mmpr_pipeline.sources.files.containers import stamp
from mmpr_pipeline.sources.files.formats import Mark, Row, Scan, SourceFile, Unreadable
from mmpr_pipeline.sources.rows.columns import cell_text

BATCH = 1024
"""Rows of the first file that are completed at once."""

_GAP = 64
"""Rows of the second file that are rather read than jumped over."""


def joined_rows(
    rows: Iterator[Row], key: str, file: SourceFile, format: Format, columns: Sequence[str]
) -> Iterator[Row]:
    """The rows, each with the columns of the row of the second file that has the same `key`; its own columns win.

    A row that has none there is Unreadable: no_joined_row. Of several that have it the first counts.
    """
    known = _known(cast(Any, file), stamp(file), format, key)
    while batch := list(islice(rows, BATCH)):
        found = known.read(file, [_key(row, key) for row in batch], (*columns, key))
        for row in batch:
            if isinstance(row, Unreadable):
                yield row
            elif (other := found.get(_key(row, key))) is not None:
                yield {**other, **row}
            else:
                yield Unreadable("no_joined_row", f"{file.name} has no {key} {cell_text(row.get(key))}"[:300])


@dataclass(frozen=True)
class _Known:
    """Where the rows of a file stand, by their keys."""

    format: Format
    key: str
    hashes: np.ndarray
    """uint64, ascending."""
    places: np.ndarray
    marks: tuple[Mark, ...]

    def read(self, file: SourceFile, wanted: Sequence[int], columns: Sequence[str]) -> dict[int, Mapping[str, Any]]:
        """The rows of these keys, by key."""
        keys: Any = np.unique(np.array(wanted, np.uint64))
        at: Any = np.searchsorted(self.hashes, keys)
        there = (at < len(self.hashes)) & (keys != 0)
        there[there] = self.hashes[at[there]] == keys[there]
        places = np.sort(self.places[at[there]])
        if not len(places):
            return {}
        cuts = np.flatnonzero(np.diff(places) > _GAP) + 1
        needed = set(keys[there].tolist())
        found: dict[int, Mapping[str, Any]] = {}
        for run in np.split(places, cuts):
            low, high = int(run[0]), int(run[-1]) + 1
            for row in ROW_FORMATS.get(self.format).read(file, self.marks, low, high, list(columns)):
                if not isinstance(row, Unreadable) and (key := _key(row, self.key)) in needed:
                    found.setdefault(key, row)
        return found


@lru_cache(maxsize=4)
def _known(file: Any, changed: int, format: Format, key: str) -> _Known:
    scan = Scan(look=lambda row: [_key(row, key)], columns=(key,))
    ROW_FORMATS.get(format).scan(file, scan)
    hashes: np.ndarray = np.frombuffer(scan.ids, np.uint64)
    order = np.argsort(hashes, kind="stable")
    return _Known(format, key, hashes[order], order, tuple(scan.marks))


def _key(row: Row, column: str) -> int:
    """64 bits of the hash of a row's key; 0 where it has none. `7` and `"7"` are one key."""
    text = None if isinstance(row, Unreadable) else cell_text(row.get(column))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1 if text else 0
