"""The pass over the sources, piece by piece: what is kept of each row is a few dozen bytes, in a file of the output.

A piece is a fixed run of rows of one source, whatever the number of workers, so a pass that was killed goes on with the
pieces that are missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from mmpr_pipeline.core.errors import DatasetError, ItemRejected
from mmpr_pipeline.core.files import with_checksum, without_checksum
from mmpr_pipeline.core.records import Question, Reject, content_id
from mmpr_pipeline.screening import FOLDER
from mmpr_pipeline.screening.contamination import EvaluationRows, Hasher, Sketch
from mmpr_pipeline.screening.likeness import VIEWS, WORDS
from mmpr_pipeline.screening.near_duplicates import ROW, row_of
from mmpr_pipeline.sources import Source, SourceIndex
from mmpr_pipeline.storage import Store

CHUNKS = f"{FOLDER}pieces/"
ROWS = 2048
"""Rows of a piece: seconds of work."""

KEY_BYTES = 16
ROW_BYTES = 8

KEYS = pa.schema(
    [
        pa.field("key", pa.binary(KEY_BYTES)),
        pa.field("row", pa.binary(ROW_BYTES)),
        pa.field("source_id", pa.string()),
        pa.field("measure", pa.string()),
        pa.field("against", pa.int32()),
        pa.field("bits", pa.int16()),
        pa.field("similarity", pa.float32()),
    ]
)
"""A piece of a training source: one row a row; `key` is null where the row is no question, `row` its `row_digest`."""

NEAR_KEYS = KEYS.append(pa.field("near", pa.binary(ROW.itemsize)))
"""The same where near-duplicates are looked for: what `row_of` keeps of each row, null where it is like none."""

SKETCHES = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("source_id", pa.string()),
        pa.field("images", pa.list_(pa.string())),
        pa.field("hashes", pa.list_(pa.binary(VIEWS * WORDS * 8))),
        pa.field("shingles", pa.binary()),
        pa.field("words", pa.int32()),
    ]
)
"""A piece of an evaluation source: one row a question that can be read."""


@dataclass(frozen=True)
class Chunk:
    """Rows `start` to `stop` of the source that is number `source` of its kind."""

    kind: str
    """`keys` of a source of the build, `sketches` of an evaluation source."""
    source: int
    name: str
    start: int
    stop: int

    @property
    def key(self) -> str:
        """Where in the store it is kept."""
        return f"{CHUNKS}{self.kind}/{self.name}-{self.start:09d}.arrow"


def chunks_of(kind: str, number: int, name: str, rows: int) -> list[Chunk]:
    """The pieces of a source, in order."""
    return [Chunk(kind, number, name, start, min(start + ROWS, rows)) for start in range(0, rows, ROWS)]


def content_key(question: Question) -> bytes:
    """What makes two questions of any sources the same one: images as the sources hold them, text and choices."""
    return bytes.fromhex(content_id([image.sha256 for image in question.images], question.text, question.choices))


def row_digest(item: Question | Reject) -> bytes:
    """What tells whether a row is still what it was: all that it says, and its images as the source holds them."""
    content = sorted(item.model_dump(mode="json", exclude={"images"} if isinstance(item, Question) else None).items())
    return hashlib.blake2b(repr(content).encode("utf-8", "surrogatepass"), digest_size=ROW_BYTES).digest()


def hash_keys(
    source: Source, index: SourceIndex, start: int, stop: int, evaluation: EvaluationRows | None, near: bool = False
) -> pa.Table:
    """The table of KEYS, or with `near` of NEAR_KEYS, of some rows. Raises SourceError.

    Without evaluation rows, and without `near`, no image is decoded.
    """
    schema = NEAR_KEYS if near else KEYS
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    hasher = Hasher(source.limits)
    source = replace(source, looks=False)
    for number, item in enumerate(source.read(index, start, stop), start):
        key, hit, kept = None, None, None
        if isinstance(item, Question):
            key = content_key(item)
            with suppress(ItemRejected):  # its shard will say so, when it reads the row
                hit = evaluation.match(hasher.sketch(item, number)) if evaluation else None
                kept = row_of(item, hasher.hash(item.images[0])) if near and item.images else None
        values = (
            key,
            row_digest(item),
            item.source_id,
            *((hit.measure, hit.against, hit.bits, hit.similarity) if hit else [None] * 4),
            *([kept] if near else ()),
        )
        for name, value in zip(schema.names, values, strict=True):
            columns[name].append(value)
    return pa.table(columns, schema)


def hash_sketches(source: Source, index: SourceIndex, start: int, stop: int) -> pa.Table:
    """The table of SKETCHES of some rows of an evaluation source. Raises SourceError."""
    columns: dict[str, list[object]] = {name: [] for name in SKETCHES.names}
    hasher = Hasher(source.limits)
    source = replace(source, looks=False)
    for number, item in enumerate(source.read(index, start, stop), start):
        if not isinstance(item, Question):
            continue
        try:
            sketch = hasher.sketch(item, number)
        except ItemRejected:
            continue
        values = (
            number,
            sketch.source_id,
            [sha256 for sha256, _ in sketch.images],
            [found.tobytes() for _, found in sketch.images],
            sketch.shingles.tobytes(),
            sketch.words,
        )
        for name, value in zip(SKETCHES.names, values, strict=True):
            columns[name].append(value)
    return pa.table(columns, SKETCHES)


def read_sketches(store: Store, pieces: list[Chunk]) -> Iterator[Sketch]:
    """The sketches of evaluation sources, in the order of the pieces."""
    for piece in pieces:
        for row in read_chunk(store, piece.key).to_pylist():
            hashes = (np.frombuffer(raw, np.uint64).reshape(VIEWS, WORDS) for raw in row["hashes"])
            images = tuple(zip(row["images"], hashes, strict=True))
            grams = np.frombuffer(row["shingles"], np.uint64)
            yield Sketch(piece.name, row["row"], row["source_id"], images, grams, row["words"])


def write_table(store: Store, key: str, table: pa.Table) -> str:
    """Put a table where `read_table` finds it, atomically; the same bytes for the same table. Returns their sha256."""
    raw = _encoded(table)
    store.write(key, raw)
    return hashlib.sha256(raw).hexdigest()


def read_table(store: Store, key: str, sha256: str | None = None) -> pa.Table:
    """A table that `write_table` wrote. Raises MissingKeyError, and DatasetError where its sha256 is another."""
    raw = store.read(key)
    if sha256 is not None and hashlib.sha256(raw).hexdigest() != sha256:
        raise _damaged(store, key)
    return _decoded(store, key, raw)


def write_chunk(store: Store, key: str, table: pa.Table) -> None:
    """Put a piece: a checksum of its key and its table, and the table."""
    store.write(key, with_checksum(key, _encoded(table)))


def read_chunk(store: Store, key: str) -> pa.Table:
    """The table of a piece. Raises MissingKeyError, and DatasetError where it is damaged, or another piece."""
    try:
        return _decoded(store, key, without_checksum(key, store.read(key)))
    except ValueError:
        raise _damaged(store, key) from None


def is_sound(store: Store, key: str) -> bool:
    """Whether a piece can be read."""
    try:
        read_chunk(store, key)
    except DatasetError:
        return False
    return True


def _damaged(store: Store, key: str) -> DatasetError:
    return DatasetError(
        f"{store.url}/{key} is damaged.", remedy="Run the same `mmpr build` again: it reads the rows again."
    )


def _encoded(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def _decoded(store: Store, key: str, raw: bytes) -> pa.Table:
    try:
        return pa.ipc.open_file(pa.BufferReader(raw)).read_all()
    except (pa.ArrowException, OSError):
        raise _damaged(store, key) from None
