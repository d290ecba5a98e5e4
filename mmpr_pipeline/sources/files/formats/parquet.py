"""Parquet: marks are row groups; only the columns and row groups that are asked for are read, a few rows at a time.

A damaged page costs its rows, and those that follow it in its column and row group; all others are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import Mark, Row, Scan, SourceFile, mark_before
from mmpr_pipeline.sources.files.formats.arrow import first_value, rows_of_batch, unreadable

ROWS_AT_ONCE = 32
BYTES_AT_ONCE = 32 << 20
"""Rows are taken by fewer than ROWS_AT_ONCE where that many would have more bytes."""

MAX_COLUMN = 8 << 30
"""Most bytes that one column of a row group may unfold to."""

_BUFFER = 4 << 20


def scan(file: SourceFile, scan: Scan) -> None:
    """See RowFormat."""
    with _Opened(file) as opened:
        columns = opened.present(list(scan.columns))
        for group, of in enumerate(opened.groups):
            if scan.full:
                return
            scan.marks.append((scan.rows, group))
            if scan.look is None:
                scan.count(min(of.rows, scan.left))
                continue
            size = _batch([of], columns, min(8192, scan.left))
            for row in _group(file, opened, group, columns, size):
                if scan.full:
                    return
                scan.saw(row)


def read(file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None) -> Iterator[Row]:
    """See RowFormat."""
    first, begin = mark_before(marks, start)
    with _Opened(file) as opened:
        groups = [begin, *(group for row, group in marks if start < row < stop)]
        names = opened.present(opened.names if columns is None else columns)
        size = _batch([opened.groups[group] for group in groups], names, ROWS_AT_ONCE)
        for group in groups:
            rows = opened.groups[group].rows
            low, high = max(start - first, 0), min(stop - first, rows)
            yield from islice(_group(file, opened, group, names, size, low), max(high - low, 0))
            first += rows


@dataclass(frozen=True)
class _RowGroup:
    """How many rows a row group has, and the bytes that each of its columns (by path) unfolds to."""

    rows: int
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, found: pq.RowGroupMetaData) -> _RowGroup:
        """As the file's footer says."""
        chunks = map(found.column, range(found.num_columns))
        return cls(int(found.num_rows), {chunk.path_in_schema: int(chunk.total_uncompressed_size) for chunk in chunks})


class _Opened:
    """An open file of Parquet. Raises SourceError where it is none."""

    def __init__(self, file: SourceFile) -> None:
        self._stream = _Watched(file.open())
        try:
            self.parquet = pq.ParquetFile(
                self._stream, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True
            )
            self.names: list[str] = self.parquet.schema_arrow.names
            metadata = self.parquet.metadata
            self.groups = [_RowGroup.of(metadata.row_group(number)) for number in range(metadata.num_row_groups)]
        except Exception as error:  # a damaged footer: of Arrow, of Thrift, or of names that are no text
            self._stream.close()
            raise SourceError(
                f"{file.name} cannot be read as Parquet: {error}", remedy="Fetch the file again, or take it out."
            ) from None

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.parquet.close()
        self._stream.close()

    def present(self, columns: list[str]) -> list[str]:
        """Those of the columns that the file has; in place of one that it lacks, what differs from it by case only, so
        that a reject can name it."""
        lacking = {name.casefold() for name in columns if name not in self.names}
        also = [name for name in self.names if name.casefold() in lacking and name not in columns]
        return [*(name for name in columns if name in self.names), *also]

    def require_read(self) -> None:
        """Raise what reading the bytes themselves raised, if it did: a network that failed is no damaged page."""
        if self._stream.failed is not None:
            raise self._stream.failed


class _Watched:
    """A file that remembers what reading it raised."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.failed: Exception | None = None
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._stream.closed

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes."""
        try:
            return self._stream.read(size)
        except Exception as error:
            self.failed = error
            raise


def _group(file: SourceFile, opened: _Opened, group: int, columns: list[str], size: int, low: int = 0) -> Iterator[Row]:
    """The rows of a row group from number `low` on; where it is damaged, what of each can be read."""
    rows, done = opened.groups[group].rows, 0
    if not columns:
        yield from [{}] * (rows - low)
        return
    try:
        for batch in opened.parquet.iter_batches(size, row_groups=[group], columns=columns):
            if done + batch.num_rows > low:
                yield from rows_of_batch(batch.slice(max(low - done, 0)))
            done += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        opened.require_read()
        readers = [_values(file, group, name, rows, error) for name in columns]
        for values in islice(zip(*readers, strict=True), max(done, low), None):
            yield dict(zip(columns, values, strict=True))


def _values(file: SourceFile, group: int, column: str, rows: int, found: Exception) -> Iterator[Any]:
    """One column of a damaged row group, value by value: from its damage on, an Unreadable for each row."""
    seen, why = 0, found
    with _Opened(file) as opened:
        try:
            for batch in opened.parquet.iter_batches(1, row_groups=[group], columns=[column]):
                yield first_value(column, batch.column(0))
                seen += 1
        except (pa.ArrowException, OSError) as error:
            opened.require_read()
            why = error
    for _ in range(rows - seen):
        yield unreadable(column, why)


def _batch(groups: Iterable[_RowGroup], columns: list[str], most: int) -> int:
    """How many rows to take at once, by their average size. Raises SourceError where a column claims to be vast."""
    largest = 0.0
    for group in groups:
        read = {path: size for path, size in group.sizes.items() if path.partition(".")[0] in columns}
        for path, size in read.items():
            if size > MAX_COLUMN:
                raise SourceError(
                    f"The column {path} unfolds to {size:,} bytes in one row group.",
                    remedy="Rewrite the file with smaller row groups, or remove it.",
                )
        largest = max(largest, sum(read.values()) / max(group.rows, 1))
    return max(1, min(most, int(BYTES_AT_ONCE / max(largest, 1.0))))
