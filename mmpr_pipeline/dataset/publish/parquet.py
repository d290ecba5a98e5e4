"""Pairs as Parquet with their images embedded, as `datasets` and the Hub's viewer read them.

An image that many pairs share is written once for each row group, in the dictionary page of its column. So the pairs of
one question, which lie side by side, never part into two row groups, and a row group is bounded by what it takes when
it is decoded, where every pair has its own copy of the image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, runs_of, sound_file
from mmpr_pipeline.dataset.files.lookup import ShardImages
from mmpr_pipeline.storage import Store

WRITER = "1"
"""Version of what is written; a change makes every published file a new one."""

GROUP_ROWS = 1000
GROUP_BYTES = 64 << 20
"""A row group ends before the question that would take it over these rows, or these bytes of decoded images."""

LARGEST_GROUP_BYTES = 1 << 30
"""Where even one question is cut: Arrow's plain binary columns end at 2 GiB."""

DICTIONARY_BYTES = 1 << 30
"""Largest dictionary page; beyond it the writer would fall back to a copy for each row."""

CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
"""Content-defined chunking of pages (as `datasets` does it), so that an edited dataset uploads only what changed."""

ZSTD_LEVEL = 3
FORMATS = ("png", "jpeg", "webp", "gif")
_NAME = re.compile(r"[0-9a-f]{64}")


class PublishedImages(ShardImages):
    """The images of one shard, of which names and formats are such that file names can be made of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if wrong := next((name for name in self.rows if not _NAME.fullmatch(name)), None):
            raise DatasetError(f"{path.name}: {wrong[:80]!r} is not a sha256.")
        self.formats = dict(zip(self.rows, map(self.format, self.rows), strict=True))
        if wrong := next((kind for kind in self.formats.values() if kind not in FORMATS), None):
            raise DatasetError(f"{path.name}: {wrong[:80]!r} is not an image format.")

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of each image."""
        return {name: self.data(name).size for name in self.rows}

    def bytes_of(self, name: str) -> bytes:
        """The encoded image. Raises DatasetError where the shard does not hold it."""
        self._require(name)
        found: bytes = self.data(name).to_pybytes()
        return found

    def file_name(self, name: str) -> str:
        """`SHA256.FORMAT`. Raises DatasetError where the shard does not hold it."""
        self._require(name)
        return f"{name}.{self.formats[name]}"

    def _require(self, name: str) -> None:
        if name not in self:
            raise DatasetError(f"Image {name} is not in its shard.", remedy="Run `mmpr verify` on the dataset.")


def shard_groups(
    store: Store, shard: int, num_shards: int, features: Any, hashes: Mapping[str, str] | None = None
) -> Iterator[pa.Table]:
    """The pairs of one shard as tables of `features.arrow_schema`, one for each row group. Memory holds one of them.

    With `hashes` (sha256 by key) a file that is not what it should be raises DatasetError, before anything is given.
    """
    with TemporaryDirectory(prefix="mmpr-") as folder:
        keys = [layout.shard_key(kind, shard, num_shards) for kind in ("pairs", "images")]
        place = Path(folder)
        pairs, images = (
            sound_file(store, key, hashes[key], place) if hashes else store.fetch(key, place) for key in keys
        )
        stored = PublishedImages(images)
        for group in row_groups(record_batches(pairs), stored.sizes):
            yield embedded(group, stored, features.arrow_schema)


def row_groups(parts: Iterable[pa.RecordBatch], sizes: Mapping[str, int]) -> Iterator[pa.Table]:
    """The same rows in tables that never part the pairs of one question, but where that alone is too large.

    `sizes` are bytes of images by name.
    """
    held: list[pa.RecordBatch] = []
    rows = taken = 0
    last: str | None = None
    for question, part in _questions(parts):
        grown = sum(sizes.get(name, 0) for names in part["images"].to_pylist() for name in names)
        full = question != last and (rows + part.num_rows > GROUP_ROWS or taken + grown > GROUP_BYTES)
        if held and (full or taken + grown > LARGEST_GROUP_BYTES):
            yield pa.Table.from_batches(held)
            held, rows, taken = [], 0, 0
        held.append(part)
        rows, taken, last = rows + part.num_rows, taken + grown, question
    if held:
        yield pa.Table.from_batches(held)


def _questions(parts: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Runs of rows of one question; a run ends with its batch."""
    for part in parts:
        for question, start, stop in runs_of(part["question_id"]):
            yield question, part.slice(start, stop - start)


def embedded(pairs: pa.Table, images: PublishedImages, schema: pa.Schema) -> pa.Table:
    """The pairs with image bytes in place of image names, in a schema whose `images` are of List(Image())."""
    columns = []
    for field in schema:
        column = pairs[field.name].combine_chunks()
        if field.name != "images":
            columns.append(column.cast(field.type))
            continue
        # Each image is copied out of its file once, and then repeated by number.
        encoded = column.flatten().dictionary_encode()
        unique = encoded.dictionary.to_pylist()
        item = field.type.value_type
        values = {"bytes": [images.bytes_of(n) for n in unique], "path": [images.file_name(n) for n in unique]}
        arrays = [pa.array(values[part.name], part.type).take(encoded.indices) for part in item]
        lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        structs = pa.StructArray.from_arrays(arrays, fields=list(item))
        columns.append(pa.ListArray.from_arrays(offsets, structs, type=field.type))
    return pa.Table.from_arrays(columns, schema=schema)


@dataclass(frozen=True)
class Written:
    """Rows of a Parquet file, and the bytes that they take in memory."""

    rows: int
    decoded_bytes: int


def write_parquet(path: Path, groups: Iterable[pa.Table], schema: pa.Schema) -> Written:
    """Write one row group for each table. The same tables give the same bytes, where pyarrow is the same."""
    rows = decoded = 0
    leaves = _leaves(schema)
    text = [leaf for leaf in leaves if not leaf.endswith(".bytes")]
    with pq.ParquetWriter(
        path,
        schema,
        compression={leaf: "zstd" if leaf in text else "none" for leaf in leaves},  # images are compressed already
        compression_level=dict.fromkeys(text, ZSTD_LEVEL),
        use_dictionary=True,
        dictionary_pagesize_limit=DICTIONARY_BYTES,
        write_statistics=text,
        write_page_index=True,
        use_content_defined_chunking=CHUNKING,
    ) as writer:
        for table in groups:
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            rows += table.num_rows
            decoded += table.nbytes
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CHUNKING)})
    return Written(rows, decoded)


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of the leaf columns as Parquet names them."""

    def below(path: str, kind: pa.DataType) -> list[str]:
        if pa.types.is_struct(kind):
            return [leaf for field in kind for leaf in below(f"{path}.{field.name}", field.type)]
        return below(f"{path}.list.element", kind.value_type) if pa.types.is_list(kind) else [path]

    return [leaf for field in schema for leaf in below(field.name, field.type)]
