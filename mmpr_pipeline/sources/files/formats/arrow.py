"""Arrow IPC, file or stream (`datasets` saves streams): marks are record batches, mapped into memory, not copied.

A value that cannot be read costs its row, not the batch; so it is in Parquet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import Mark, Row, Scan, SourceFile, Unreadable, Values, mark_before


def rows_of_batch(batch: pa.RecordBatch, *, checked: bool = False) -> list[Values]:
    """The rows of a batch. A value that is no value (text that is not UTF-8, a date of year 0) is an Unreadable.

    `checked`: look at offsets and lengths before following them: files of Arrow are mapped into memory as they are,
    and a wrong offset leads outside of it.
    """
    if not batch.num_columns:
        return [{}] * batch.num_rows
    try:
        if checked:
            batch.validate(full=True)
        return list(batch.to_pylist())
    except Exception:  # which value it is, is found one by one
        columns = {name: batch.column(at) for at, name in enumerate(batch.schema.names)}
        return [
            {name: first_value(name, column.slice(row, 1), checked) for name, column in columns.items()}
            for row in range(batch.num_rows)
        ]


def first_value(name: str, array: pa.Array, checked: bool = False) -> Any:
    """The first value of an array, or why it cannot be read."""
    try:
        if checked:
            array.validate(full=True)
        return array[0].as_py()
    except Exception as error:
        return unreadable(name, error)


def unreadable(column: str, error: Exception) -> Unreadable:
    """What stands where a value should."""
    return Unreadable("unreadable_row", f"{column}: {error}"[:200])


ROWS_AT_ONCE = 32
_MAGIC = b"ARROW1"


def scan(file: SourceFile, scan: Scan) -> None:
    """See RowFormat."""
    for number, batch in _batches(file, 0):
        if scan.full:
            return
        scan.marks.append((scan.rows, number))
        wanted = min(batch.num_rows, scan.left)
        if scan.look is None:
            scan.count(wanted)
            continue
        columns = [name for name in scan.columns if name in batch.schema.names]
        ids = batch.slice(0, wanted).select(columns)
        for low in range(0, wanted, 8192):
            for row in rows_of_batch(ids.slice(low, min(8192, wanted - low)), checked=True):
                if scan.full:
                    return
                scan.saw(row)


def read(file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None) -> Iterator[Row]:
    """See RowFormat."""
    first, begin = mark_before(marks, start)
    for _, batch in _batches(file, begin):
        if first >= stop:
            return
        wanted = None if columns is None else {name.casefold() for name in columns}  # what differs by case is named
        names = [name for name in batch.schema.names if wanted is None or name.casefold() in wanted]
        low, high = max(start - first, 0), min(stop - first, batch.num_rows)
        for at in range(low, high, ROWS_AT_ONCE):
            yield from rows_of_batch(batch.slice(at, min(ROWS_AT_ONCE, high - at)).select(names), checked=True)
        first += batch.num_rows


def _batches(file: SourceFile, begin: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Record batches from number `begin` on. Raises SourceError where the file is not Arrow, or ends too early."""
    with contextlib.ExitStack() as stack:
        try:
            mapped = stack.enter_context(pa.memory_map(str(file.local())))
            if mapped.read(len(_MAGIC)) == _MAGIC:
                reader = pa.ipc.open_file(mapped)
                for number in range(begin, reader.num_record_batches):
                    yield number, reader.get_batch(number)
                return
            mapped.seek(0)
            for number, batch in enumerate(pa.ipc.open_stream(mapped)):
                if number >= begin:
                    yield number, batch
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceError(
                f"{file.name} cannot be read as Arrow: {error}", remedy="Write or fetch the file again, or take it out."
            ) from None
