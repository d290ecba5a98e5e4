"""Arrow IPC files: written in bounded batches from records, column by column; read batch by batch, memory-mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import Record
from mmpr_pipeline.storage import MissingKeyError, Store

BATCH_ROWS = 2048
BATCH_BYTES = 16 << 20
ZSTD_LEVEL = 3
DAMAGED_REMEDY = (
    "Bring it back from a copy. Without one, delete the manifest of its shard and run the `mmpr build` of the dataset "
    "again: it makes the shard anew. `mmpr verify` names all that is wrong."
)


class RecordFile:
    """Writes records of one kind to a new local file. Memory holds one batch, whatever the file's size.

    The same records in the same order give the same bytes: batches end by rows and bytes, never by time. Images are
    stored as they are (they are compressed already, and can be read in place); all else is zstd-compressed.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        codec = None if "data" in schema.names else pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema, options=options)
        self._fields = attrgetter(*schema.names)
        self._batch: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, records: Sequence[Record], size: int) -> None:
        """Append records that together hold about `size` bytes."""
        self._batch += map(self._fields, records)
        self._bytes += size
        if len(self._batch) >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left and end the file."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        if self._batch:
            arrays = []
            for column, field in zip(zip(*self._batch, strict=True), self.schema, strict=True):
                try:
                    arrays.append(pa.array(column, field.type))
                except UnicodeEncodeError:  # lone surrogates of a hostile text have no UTF-8 form
                    arrays.append(pa.array([_encodable(value) for value in column], field.type))
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
            self.rows += len(self._batch)
        self._batch, self._bytes = [], 0


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [_encodable(item) for item in value] if isinstance(value, tuple | list) else value


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


def sha256_of(path: Path) -> str:
    """sha256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
