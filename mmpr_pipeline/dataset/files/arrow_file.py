"""Arrow IPC files read batch by batch, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import sha256_of
from mmpr_pipeline.storage import MissingKeyError, Store

DAMAGED_REMEDY = (
    "Bring it back from a copy. Without one, delete the manifest of its shard and run the `mmpr build` of the dataset "
    "again: it makes the shard anew. `mmpr verify` names all that is wrong."
)


def record_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of a file, of all or some columns (others are not even decompressed).

    What is not compressed is not copied either, but seen in place in the memory-mapped file. Raises DatasetError where
    the file is not readable Arrow.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)), options=_only(path, columns))
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            yield batch if columns is None else batch.select([n for n in batch.schema.names if n in columns])
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path.name} is not a readable Arrow file: {error}", remedy=DAMAGED_REMEDY) from None


def _only(path: Path, columns: Sequence[str] | None) -> pa.ipc.IpcReadOptions:
    if columns is None:
        return pa.ipc.IpcReadOptions(use_threads=False)
    names = schema_of(path).names
    missing = sorted(set(columns) - set(names))
    if missing:
        raise DatasetError(f"{path.name} lacks the column {missing[0]}.")
    if "data" in names:  # not compressed, and Arrow would copy what it is asked for by column
        return pa.ipc.IpcReadOptions(use_threads=False)
    return pa.ipc.IpcReadOptions(included_fields=sorted(names.index(c) for c in columns), use_threads=False)


def schema_of(path: Path) -> pa.Schema:
    """The schema that a file states. Raises DatasetError where the file is not readable Arrow."""
    try:
        state = path.stat()
        return _stated_schema(path, (state.st_ino, state.st_mtime_ns, state.st_size))
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path.name} is not a readable Arrow file: {error}", remedy=DAMAGED_REMEDY) from None


@lru_cache(maxsize=4096)
def _stated_schema(path: Path, state: tuple[int, int, int]) -> pa.Schema:
    """Kept for each state of a file: a viewer opens the same files again and again, by some of their columns."""
    return pa.ipc.open_file(pa.memory_map(str(path))).schema


def sound_file(store: Store, key: str, sha256: str, folder: Path | None = None) -> Path:
    """A local file with the content of a key, which is what its manifest says: the file itself, or a cached download;
    with a `folder`, a download into it.

    Raises DatasetError where the file is gone or damaged: such a file is not parsed.
    """
    try:
        path = store.fetch(key, folder) if folder else store.local_copy(key)
    except MissingKeyError:
        raise DatasetError(f"{store.url}/{key} is gone.", remedy=DAMAGED_REMEDY) from None
    if sha256_of(path) != sha256:
        raise DatasetError(f"{store.url}/{key} is not what its manifest says.", remedy=DAMAGED_REMEDY)
    return path


def runs_of(column: pa.Array) -> Iterator[tuple[Any, int, int]]:
    """Each run of equal values that stand side by side: the value, its first row, and the row after its last."""
    encoded = pc.run_end_encode(column)
    start = 0
    for value, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
        yield value, start, end
        start = end


def open_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a whole file; where they are not compressed, in place in the memory-mapped file."""
    schema = schema_of(path)
    kept = pa.schema([field for field in schema if field.name in columns], metadata=schema.metadata)
    return pa.Table.from_batches(record_batches(path, columns), schema=kept)
