"""The summary of a finished dataset: the totals of all manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import SCHEMA_VERSION
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.manifest import Manifest, merge_counts, read_manifest
from mmpr_pipeline.storage import MissingKeyError, Store


def summarise(store: Store, shards: int) -> dict[str, Any]:
    """Totals over all shards: `schema_version`, `shards`, `identity`, `counts`, `sources`, `files`, `bytes`.

    Raises DatasetError where a shard is not finished.
    """
    manifests = list(manifests_of(store, shards))
    names = sorted({name for m in manifests for name in m.sources})
    files = [entry for m in manifests for entry in m.files]
    return {
        "schema_version": SCHEMA_VERSION,
        "shards": shards,
        "identity": manifests[0].identity,
        "counts": merge_counts(m.counts for m in manifests).model_dump(),
        "sources": {n: merge_counts(m.sources[n] for m in manifests if n in m.sources).model_dump() for n in names},
        "files": len(files),
        "bytes": sum(entry.bytes for entry in files),
    }


def shards_of(store: Store) -> int:
    """Number of shards of the dataset. Raises DatasetError where no shard is there."""
    found = [key.removesuffix(".json").rpartition("-of-")[2] for key in store.list("manifests/")]
    if not found or not found[0].isdecimal():
        raise DatasetError(f"{store.url} holds no finished shard.", remedy="Give the output of `mmpr build`.")
    return int(found[0])


def manifests_of(store: Store, shards: int) -> Iterator[Manifest]:
    """Manifests of all shards in order. Raises DatasetError where one is missing or belongs to another build."""
    first: Manifest | None = None
    for shard in range(shards):
        key = layout.manifest(shard, shards)
        try:
            manifest = read_manifest(store.read(key), key)
        except MissingKeyError:
            raise DatasetError(
                f"{store.url} is not finished: {key} is not there.",
                remedy="Run the same `mmpr build` again: it goes on.",
            ) from None
        if (manifest.shard, manifest.of) != (shard, shards):
            raise DatasetError(
                f"{store.url}/{key} is the manifest of shard {manifest.shard} of {manifest.of}.",
                remedy="Bring it back from a copy; or delete it and run the same `mmpr build` again: its shard is made "
                "anew.",
            )
        first = first or manifest
        if manifest.identity != first.identity:
            raise DatasetError(
                f"{store.url}/{key} was built with other settings than {layout.manifest(0, shards)}.",
                remedy="Where one of them is damaged, bring it back from a copy.",
            )
        yield manifest
