"""Parquet: marks are row groups; only the columns and row groups that are asked for are read, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import Mark, Row, Scan, SourceFile, mark_before

ROWS_AT_ONCE = 32
BYTES_AT_ONCE = 32 << 20
"""Rows are taken by fewer than ROWS_AT_ONCE where so many would be more than this."""

MAX_COLUMN = 8 << 30
"""Most bytes that one column of a row group may unfold to."""

_BUFFER = 4 << 20


def scan(file: SourceFile, scan: Scan) -> None:
    """See RowFormat."""
    with _opened(file) as parquet:
        for group in range(parquet.num_row_groups):
            if scan.full:
                return
            scan.marks.append((scan.rows, group))
            rows = parquet.metadata.row_group(group).num_rows
            if scan.look is None:
                scan.count(min(rows, scan.left))
            else:
                _look(parquet, group, scan)


def _look(parquet: pq.ParquetFile, group: int, scan: Scan) -> None:
    columns = _present(parquet, list(scan.columns))
    size = _batch(parquet, [group], columns, min(8192, scan.left))
    for batch in parquet.iter_batches(size, row_groups=[group], columns=columns):
        for row in batch.to_pylist() if columns else [{}] * batch.num_rows:
            if scan.full:
                return
            scan.saw(row)


def read(file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None) -> Iterator[Row]:
    """See RowFormat."""
    first, begin = mark_before(marks, start)
    with _opened(file) as parquet:
        groups = [begin, *(group for row, group in marks if start < row < stop)]
        names = _present(parquet, parquet.schema_arrow.names if columns is None else columns)
        size = _batch(parquet, groups, names, ROWS_AT_ONCE)
        for batch in parquet.iter_batches(size, row_groups=groups, columns=names):
            low, high = max(start - first, 0), min(stop - first, batch.num_rows)
            first += batch.num_rows
            if low < high:
                yield from batch.slice(low, high - low).to_pylist()
            if first >= stop:
                return


def _opened(file: SourceFile) -> pq.ParquetFile:
    stream = file.open()
    try:
        return pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowException, OSError, ValueError) as error:
        stream.close()
        raise SourceError(
            f"{file.name} cannot be read as Parquet: {error}", remedy="Fetch the file again, or take it out."
        ) from None


def _present(parquet: pq.ParquetFile, columns: list[str]) -> list[str]:
    return [name for name in columns if name in parquet.schema_arrow.names]


def _batch(parquet: pq.ParquetFile, groups: list[int], columns: list[str], most: int) -> int:
    """How many rows to take at once, by their average size. Raises SourceError where a column claims to be vast."""
    largest = 0.0
    for group in (parquet.metadata.row_group(number) for number in groups):
        size = 0
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.partition(".")[0] not in columns:
                continue
            if chunk.total_uncompressed_size > MAX_COLUMN:
                raise SourceError(
                    f"The column {chunk.path_in_schema} unfolds to {chunk.total_uncompressed_size:,} bytes in one row "
                    "group.",
                    remedy="Write the file anew with smaller row groups, or leave it out.",
                )
            size += chunk.total_uncompressed_size
        largest = max(largest, size / max(group.num_rows, 1))
    return max(1, min(most, int(BYTES_AT_ONCE / max(largest, 1.0))))
