"""Parquet as it is published: a folder that `datasets.load_dataset` opens, with its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.dataset.export.built import Built
from mmpr_pipeline.dataset.files.load import pair_features
from mmpr_pipeline.dataset.publish.card import dataset_card
from mmpr_pipeline.dataset.publish.parquet import shard_groups, write_parquet
from mmpr_pipeline.dataset.review.facts import facts_of


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `data/train-*.parquet` and `README.md`."""
    counts: Counter[str] = Counter()
    features = pair_features()
    (folder / "data").mkdir()
    size = decoded = 0
    for shard in range(built.shards):
        path = folder / "data" / f"train-{shard:05d}-of-{built.shards:05d}.parquet"
        written = write_parquet(path, shard_groups(built.store, shard, built.shards, features), features.arrow_schema)
        size, decoded = size + path.stat().st_size, decoded + written.decoded_bytes
        counts["pairs"] += written.rows
        announce(shard + 1)
    card = dataset_card(facts_of(built.store.url), built.name, built.name, size, decoded)
    (folder / "README.md").write_text(card, "utf-8")
    return counts


def usage(dest: Path) -> str:
    """How it is loaded."""
    return f'# Parquet\n\n    datasets.load_dataset("{dest}", split="train")\n'
