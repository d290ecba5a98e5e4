"""TRL: a data set that `load_dataset` opens and `DPOTrainer` takes as it is: `images`, and `prompt`, `chosen` and
`rejected` as conversations, the prompt's turns in parts, so that each image stands where the question has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from mmpr_pipeline.dataset.export.built import Built
from mmpr_pipeline.dataset.files.load import pair_features
from mmpr_pipeline.dataset.publish.parquet import shard_groups, write_parquet
from mmpr_pipeline.models.messages import IMAGE_MARK, turns_of

KEPT = ("pair_id", "source", "strategy")
FRONT = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
---
"""


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `data/train-*.parquet` and `README.md`."""
    counts: Counter[str] = Counter()
    import datasets

    text = datasets.Value("string")
    parts = datasets.List({"role": text, "content": datasets.List({"type": text, "text": text})})
    answer = datasets.List({"role": text, "content": text})
    columns = {"images": datasets.List(datasets.Image()), "prompt": parts, "chosen": answer, "rejected": answer}
    pairs, schema = pair_features(), datasets.Features(columns | dict.fromkeys(KEPT, text)).arrow_schema
    (folder / "data").mkdir()
    for shard in range(built.shards):
        path = folder / "data" / f"train-{shard:05d}-of-{built.shards:05d}.parquet"
        groups = shard_groups(built.store, shard, built.shards, pairs)
        counts["pairs"] += write_parquet(path, (_conversations(group, schema) for group in groups), schema).rows
        announce(shard + 1)
    (folder / "README.md").write_text(FRONT + usage(Path(built.name)), "utf-8")
    return counts


def _conversations(pairs: pa.Table, schema: pa.Schema) -> pa.Table:
    def column(field: pa.Field) -> pa.Array:
        values = pairs[field.name].combine_chunks()
        if field.name == "prompt":
            return pa.array([in_parts(text) for text in values.to_pylist()], field.type)
        if field.name in ("chosen", "rejected"):
            return pa.array([[{"role": "assistant", "content": text}] for text in values.to_pylist()], field.type)
        return values

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


def in_parts(prompt: str) -> list[dict[str, object]]:
    """The turns of a prompt as TRL's messages."""
    return [{"role": turn.role, "content": parts(turn.text)} for turn in turns_of(prompt)]


def parts(turn: str) -> list[dict[str, str | None]]:
    """A turn as TRL's parts: text, and images where the marks are. Line ends at a mark go with it."""
    made: list[dict[str, str | None]] = []
    for number, text in enumerate(turn.split(IMAGE_MARK)):
        if number:
            made.append({"type": "image", "text": None})
        if text.strip("\n"):
            made.append({"type": "text", "text": text.strip("\n")})
    return made


def usage(dest: Path) -> str:
    """How TRL opens it."""
    return (
        "# For TRL\n\n"
        f'    dataset = datasets.load_dataset("{dest}", split="train")\n'
        '    config = DPOConfig(loss_type=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0], ...)  # MPO\n'
        "    DPOTrainer(model, args=config, train_dataset=dataset, processing_class=processor)\n"
    )
