"""Rows of Arrow record batches: a value that cannot be read costs its row, not the batch."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mmpr_pipeline.sources.files.formats import Unreadable, Values


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
