"""`load(OUT)`: a built dataset as a `datasets.Dataset` with its images decoded."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmpr_pipeline.core.files import cache_folder
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, sound_file
from mmpr_pipeline.dataset.files.image_fs import image_prefix, register_filesystem
from mmpr_pipeline.dataset.files.layout import Manifest
from mmpr_pipeline.dataset.files.summary import manifests_of, shards_of
from mmpr_pipeline.storage import Store, open_store

if TYPE_CHECKING:
    import datasets

_VERSION = "1"  # of the cached form


def load(out: str | Path) -> datasets.Dataset:
    """The pairs of a finished dataset, local or `s3://`, one row a pair, memory-mapped.

    Columns are those of PreferencePair (`schemas/`), with `images` as a list of PIL images, decoded on access from the
    dataset's image files: no image is copied for each pair. The first call unpacks the pairs' text into the cache
    (`MMPR_CACHE`, else ~/.cache/mmpr). `OUT` must stay where it is, also for what `save_to_disk` and `to_parquet`
    write: they keep addresses of images, while `push_to_hub` embeds the bytes.

    Raises DatasetError where the dataset is not finished, StoreError where it cannot be read.
    """
    import datasets

    register_filesystem()
    store = open_store(out)
    shards = shards_of(store)
    manifests = list(manifests_of(store, shards))
    # Names the cached form by the content of all pairs and by where their images lie.
    hashes = [entry.sha256 for m in manifests for entry in m.files if entry.path.startswith("pairs/")]
    folder = (
        cache_folder()
        / "datasets"
        / hashlib.sha256("\n".join([_VERSION, store.url, *hashes]).encode()).hexdigest()[:32]
    )
    features = pair_features()
    parts = []
    for manifest in manifests:
        unpacked = folder / Path(layout.shard_key("pairs", manifest.shard, shards)).name
        if not unpacked.is_file():
            _unpack(store, manifest, unpacked, features.arrow_schema)
        info = datasets.DatasetInfo(features=features)
        parts.append(datasets.Dataset.from_file(str(unpacked), info=info))
    return datasets.concatenate_datasets(parts)


def pair_features() -> datasets.Features:
    """Columns of a dataset of pairs as `datasets` declares them; `images` is a list of images."""
    import datasets

    def feature(name: str, kind: pa.DataType) -> Any:
        if name == "images":
            return datasets.List(datasets.Image())
        return datasets.Value(str(kind))

    schema = layout.SCHEMAS["pairs"]
    return datasets.Features({name: feature(name, schema.field(name).type) for name in schema.names})


def _unpack(store: Store, manifest: Manifest, target: Path, schema: pa.Schema) -> None:
    """Write a shard's pairs as `datasets` maps them: an uncompressed stream, with addresses of images."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{uuid.uuid4().hex}")
    images, pairs = (layout.shard_key(kind, manifest.shard, manifest.of) for kind in ("images", "pairs"))
    prefix = image_prefix(store, images)
    try:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in record_batches(sound_file(store, pairs, manifest.hashes[pairs])):
                rows = [
                    [{"bytes": None, "path": f"{prefix}/{name}"} for name in names]
                    for names in batch["images"].to_pylist()
                ]
                columns = [pa.array(rows, f.type) if f.name == "images" else batch[f.name].cast(f.type) for f in schema]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
