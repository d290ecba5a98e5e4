"""A source opened: its index (small, made once by the driver) and its rows as questions (read by each shard).

`index` looks once over the files and keeps only row counts, marks to start reading at, and which rows repeat an id.
`read` gives the rows of a slice, each as a Question or, with the reason, as a Reject.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from mmpr_pipeline.errors import ItemRejected, SourceError
from mmpr_pipeline.records import Question, Record, Reject, content_id
from mmpr_pipeline.sources import formats, mapping
from mmpr_pipeline.sources.declaration import Format, SourceDeclaration
from mmpr_pipeline.sources.files import LocalFile, local_files
from mmpr_pipeline.sources.formats import Row, Scan, SourceFile, Unreadable, Values
from mmpr_pipeline.sources.hub import HubFile, resolve
from mmpr_pipeline.sources.references import ImageFolder, image_bytes

MAX_DETAIL = 300
"""Most characters of a reject's detail."""


class IndexedFile(Record):
    """One file of a source, as the index knows it."""

    name: str = Field(description="Path below the source's root, or in the Hub repository.")
    format: Format | None = Field(description="Format; null for generated rows.")
    size: int = Field(description="Size in bytes.")
    digest: str = Field(description="Identity of the contents: of a local file's two ends; empty on the Hub.")
    rows: int = Field(description="Rows.")
    marks: tuple[tuple[int, int], ...] = Field(description="Some rows' numbers and where the format finds them.")


class SourceIndex(Record):
    """What a shard needs to know of a source to read its slice; small, and plain JSON data."""

    rows: int = Field(description="Rows, those that cannot be read included.")
    fingerprint: str = Field(description="Content id of the declaration and the files; no path or time goes into it.")
    revision: str | None = Field(default=None, description="Commit of a Hub data set.")
    files: tuple[IndexedFile, ...] = Field(description="The files, in reading order.")
    duplicates: tuple[int, ...] = Field(default=(), description="Numbers of rows whose id an earlier row has.")


@dataclass(frozen=True)
class Source:
    """A source of questions. `whole_files`: fetch small Hub files whole, as a build does; a preview does not."""

    declaration: SourceDeclaration
    root: Path
    whole_files: bool = True

    @property
    def name(self) -> str:
        """The source's name, as it is written into every row."""
        return self.declaration.name

    def index(self, limit: int | None = None) -> SourceIndex:
        """Look once over the rows, or over the first `limit`. Raises SourceError: no files, no rows, out of reach."""
        revision, parts, ids = None, [], array("Q")
        if self.declaration.generated:
            parts = [self._generated_part(limit)]
        else:
            revision, files = self._files()
            parts, ids = self._scan(files, limit)
        rows = sum(part.rows for part in parts)
        if not rows:
            raise SourceError(
                f"The source {self.name} has no rows.", remedy="Check its files, or leave it out of --sources."
            )
        identity = json.dumps(self.declaration.identity(), sort_keys=True, ensure_ascii=False)
        seen = [f"{part.name}:{part.size}:{part.digest}" for part in parts]
        return SourceIndex(
            rows=rows,
            fingerprint=content_id(identity, revision or "", seen),
            revision=revision,
            files=tuple(parts),
            duplicates=tuple(repeated(ids)),
        )

    def read(self, index: SourceIndex, start: int, stop: int) -> Iterator[Question | Reject]:
        """Rows `start` to `stop` (exclusive), in order, one item for each; only these are read and decoded.

        Raises SourceError where a file is not any more what it was when the index was made.
        """
        repeats = set(index.duplicates)
        first = 0
        for part in index.files:
            low, high = max(start - first, 0), min(stop - first, part.rows)
            if low < high:
                load = self._loader(part)
                for number, row in enumerate(self._rows(index, part, low, high), start=first + low):
                    yield self._item(row, number, number in repeats, load)
            first += part.rows

    def _item(self, row: Row, number: int, repeated: bool, load: mapping.Load) -> Question | Reject:
        source_id = f"row {number}"
        try:
            if isinstance(row, Unreadable):
                raise ItemRejected(row.reason, row.detail)
            source_id = mapping.row_id(self.declaration, row, number)
            if repeated:
                raise ItemRejected("duplicate_id", f"row {number}")
            return mapping.question_from_row(self.declaration, row, source_id, load)
        except ItemRejected as reason:
            detail = mapping.clean(reason.detail)[:MAX_DETAIL]
            return Reject(source=self.name, source_id=source_id, reason=reason.reason, detail=detail)

    def _rows(self, index: SourceIndex, part: IndexedFile, low: int, high: int) -> Iterator[Row]:
        """The rows of a slice of one file, and an error where they are fewer than the index says."""
        seen = 0
        try:
            for row in self._open_rows(index, part, low, high):
                seen += 1
                yield row
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{part.name} of {self.name} cannot be read: {error}", remedy=_AGAIN) from None
        if seen != high - low:
            raise SourceError(f"{part.name} of {self.name} has other rows than when the build began.", remedy=_AGAIN)

    def _open_rows(self, index: SourceIndex, part: IndexedFile, low: int, high: int) -> Iterator[Row]:
        if part.format is None:
            return self._generate(low, high)
        columns = with_struct_columns(self.declaration.column_names())
        return formats.row_format(part.format).read(self._file(index, part), part.marks, low, high, columns)

    def _files(self) -> tuple[str | None, Sequence[LocalFile | HubFile]]:
        if self.declaration.hub:
            return resolve(self.declaration.hub, self.whole_files)
        return None, local_files(self.declaration.files, self.root, self.name)

    def _file(self, index: SourceIndex, part: IndexedFile) -> SourceFile:
        if self.declaration.hub:
            return HubFile(self.declaration.hub.id, index.revision or "", part.name, part.size, self.whole_files)
        path = self.root / part.name
        if not path.is_file() or path.stat().st_size != part.size:
            raise SourceError(f"{path} is not any more what it was when the build began.", remedy=_AGAIN)
        return LocalFile(path, part.name, part.size)

    def _scan(self, files: Sequence[LocalFile | HubFile], limit: int | None) -> tuple[list[IndexedFile], array[int]]:
        parts: list[IndexedFile] = []
        ids = array("Q")
        id_of, columns = self._ids()
        for file in files:
            left = None if limit is None else limit - sum(part.rows for part in parts)
            scan = Scan(limit=left, id_of=id_of, id_columns=columns)
            parts.append(self._scan_file(file, scan))
            ids.extend(scan.ids)
        return parts, ids

    def _scan_file(self, file: LocalFile | HubFile, scan: Scan) -> IndexedFile:
        format = self.declaration.format or formats.format_of(file.name)
        if not scan.full:
            formats.row_format(format).scan(file, scan)
        return IndexedFile(
            name=file.name,
            format=format,
            size=file.size,
            digest=file.digest() if isinstance(file, LocalFile) else "",
            rows=scan.rows,
            marks=tuple(scan.marks),
        )

    def _ids(self) -> tuple[Callable[[Values], int] | None, tuple[str, ...]]:
        """How to tell a row's id, as 64 bits of its hash; nothing where the source has no id column."""
        column = self.declaration.columns.id
        if column is None:
            return None, ()

        def id_of(row: Values) -> int:
            found = mapping.row_id(self.declaration, row, -1)
            digest = hashlib.blake2b(found.encode(), digest_size=8).digest()
            return 0 if found == "row -1" else int.from_bytes(digest, "little") or 1

        return id_of, tuple(with_struct_columns(column.split(";")))

    def _loader(self, part: IndexedFile) -> mapping.Load:
        folder = ImageFolder()
        if self.declaration.image_root:
            folder = ImageFolder(self.root / self.declaration.image_root, self.root / self.declaration.image_root)
        elif self.declaration.files:
            base = (self.root / part.name).parent
            folder = ImageFolder(base, base if part.name.startswith("../") else self.root)
        return lambda reference: image_bytes(reference, folder)

    def _generated_part(self, limit: int | None) -> IndexedFile:
        made = self.declaration.generated
        assert made is not None
        rows = made.rows if limit is None else min(made.rows, limit)
        return IndexedFile(name=f"{made.name}/{made.split}", format=None, size=0, digest="", rows=rows, marks=())

    def _generate(self, low: int, high: int) -> Iterator[Row]:
        from mmpr_pipeline.nano import worlds

        made = self.declaration.generated
        assert made is not None
        return worlds.rows(made.name, split=made.split, start=low, stop=high, seed=made.seed)


_AGAIN = "Put the file back as it was, or begin a new build with another --out."


def with_struct_columns(names: list[str]) -> list[str]:
    """The names, and for each `a.b` also `a`, the struct that it may be a field of."""
    return list(dict.fromkeys([*names, *(name.partition(".")[0] for name in names if "." in name)]))


def repeated(ids: array[int]) -> list[int]:
    """Positions whose value stands at an earlier position too, ascending; 0 counts for nothing."""
    if not ids:
        return []
    values = np.frombuffer(ids, dtype=np.uint64)
    order = np.argsort(values, kind="stable")
    same = (values[order][1:] == values[order][:-1]) & (values[order][1:] != 0)
    return sorted(int(position) for position in order[1:][same])
