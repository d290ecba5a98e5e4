"""Readers of rows, one module for each format of file, with one face.

`scan` looks once over a file: how many rows it has, where some of them start (`marks`), and what each row's id is.
`read` then gives any rows of it, starting at the nearest mark, so that a shard reads only its own slice.
"""

from __future__ import annotations

import bisect
import importlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mmpr_pipeline.errors import SourceError
from mmpr_pipeline.sources.declaration import Format

Values = Mapping[str, Any]
Mark = tuple[int, int]
"""A row's number in its file, and where the format finds it: byte offset, row group or record batch."""

EXTENSIONS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".tar": "tar",
}

MAX_ROW_BYTES = 64 * 1024 * 1024
"""Longest row of a JSON file, and longest member of a tar."""


@dataclass(frozen=True)
class Unreadable:
    """A row that is not a row: its reason as a reject, and what was seen."""

    reason: str
    detail: str = ""


Row = Values | Unreadable


class SourceFile(Protocol):
    """A file of rows, on this machine or on the Hub."""

    @property
    def name(self) -> str:
        """The file's path below the source's root."""
        ...

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    def open(self) -> BinaryIO:
        """The file, seekable, for reading."""
        ...

    def local(self) -> Path:
        """The file on this machine, fetched whole if need be."""
        ...


@dataclass
class Scan:
    """What one look over a file found. `id_of` gives each row's id as 64 bits, 0 for none, where ids are wanted."""

    limit: int | None = None
    id_of: Callable[[Values], int] | None = None
    id_columns: tuple[str, ...] = ()
    rows: int = 0
    marks: list[Mark] = field(default_factory=list)
    ids: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def full(self) -> bool:
        """Whether as many rows as wanted were seen."""
        return self.limit is not None and self.rows >= self.limit

    def saw(self, row: Row | None) -> None:
        """Count one row; None where only counting was asked for."""
        self.rows += 1
        if self.id_of is not None:
            self.ids.append(self.id_of(row) if isinstance(row, Mapping) else 0)


class RowFormat(Protocol):
    """What a module of this folder offers."""

    def scan(self, file: SourceFile, scan: Scan) -> None:
        """Fill in `rows`, `marks` and `ids` of `scan`. Raises SourceError where the file is not of the format."""
        ...

    def read(
        self, file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str]
    ) -> Iterator[Row]:
        """Rows start..stop of the file, one item for each, with at least the top-level `columns` that it has."""
        ...


def row_format(name: Format) -> RowFormat:
    """The reader of a format; imported when it is first needed."""
    module: Any = importlib.import_module(f"{__name__}.{name}")
    return module


def format_of(path: str) -> Format:
    """The format that a file's extension names. Raises SourceError."""
    suffix = Path(path).suffix.lower()
    if suffix in EXTENSIONS:
        return EXTENSIONS[suffix]
    remedy = "Say `format: jsonl|json|parquet|arrow|tar` in the declaration."
    if suffix in (".gz", ".tgz", ".zst", ".bz2", ".xz", ".zip"):
        remedy = "Unpack it: compressed files have no rows that can be read on their own."
    raise SourceError(f"No format is known by the extension of {path}.", remedy=remedy)


def mark_before(marks: tuple[Mark, ...], row: int) -> Mark:
    """The last mark that is not after `row`."""
    return marks[bisect.bisect_right(marks, row, key=lambda mark: mark[0]) - 1] if marks else (0, 0)
