"""Pairs handed from one way of making them to another, as rows of a source.

Feedback and DropNTP are compared on the same chosen responses. What feedback chose becomes a source, for the strategy
`dropout_preset`; and of feedback's pairs those whose chosen response DropNTP could use become one, for `preset`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from mmpr_pipeline.core.records import Image, PreferencePair
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, sound_file
from mmpr_pipeline.dataset.files.layout import read_manifest
from mmpr_pipeline.dataset.files.lookup import stored_questions
from mmpr_pipeline.dataset.files.summary import shards_of
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.study.steps.step import HandedOver

NAME, ROWS = "same_chosen", "rows.jsonl"
_DECLARATION = {
    "name": NAME,
    "description": "Chosen responses that were made before, with their rejected ones.",
    "files": ROWS,
    "role": "train",
    "kind": "none",
    "columns": {"id": "id", "question": "question", "image": "images", "chosen": "chosen", "rejected": "rejected"},
}


class PairRow(TypedDict):
    """A pair as a row of a source; `images` are names of files beside it, each the sha256 and the format."""

    id: str
    question: str
    images: list[str]
    chosen: str
    rejected: str
    chosen_tokens: int


def write_pair_rows(folder: Path, rows: list[PairRow], images: dict[str, bytes]) -> None:
    """Write pairs as a source, with the declaration `same_chosen.yaml`; `images` by their names."""
    store = open_store(folder)
    for name in {name for row in rows for name in row["images"]}:
        store.write(name, images[name])
    store.write(ROWS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    store.write(f"{NAME}.yaml", json.dumps(_DECLARATION, indent=1).encode())  # JSON is YAML


def pair_row(pair_id: str, question: str, images: list[Image], chosen: str, rejected: str, tokens: int) -> PairRow:
    """A row of a pair."""
    names = [f"{image.sha256}.{image.format}" for image in images]
    return {"id": pair_id, "question": question, "images": names, "chosen": chosen, "rejected": rejected,
            "chosen_tokens": tokens}  # fmt: skip


def hand_over_pairs(data: str, folder: Path) -> HandedOver:
    """Write all pairs of a finished dataset; gives how many, as `pairs`."""
    store = open_store(data)
    shards = shards_of(store)
    images = {
        image.sha256: image
        for shard in range(shards)
        for stored in stored_questions(store, shard, shards)
        for image in stored.images
    }
    rows = [
        pair_row(p.pair_id, p.question, [images[sha256] for sha256 in p.images], p.chosen, p.rejected, p.chosen_tokens)
        for p in _pairs(data)
    ]
    write_pair_rows(folder, rows, {f"{image.sha256}.{image.format}": image.data for image in images.values()})
    return {"pairs": len(rows)}


def keep_continued(rows: Path, continued: str, folder: Path) -> HandedOver:
    """Write those of some rows that have a pair in the DropNTP dataset that was made from them.

    Gives how many, as `pairs`, and the `generated_tokens` that DropNTP's took: those of the chosen responses, and of
    the continuations without what they keep.
    """
    made = {pair.source_id: pair for pair in _pairs(continued)}
    kept, tokens = [], dict[tuple[str, ...], int]()
    for line in (rows / ROWS).read_text("utf-8").splitlines():
        row: PairRow = json.loads(line)
        if pair := made.get(row["id"]):
            kept.append(row)
            shared = round(row["chosen_tokens"] * pair.shared_chars / len(row["chosen"]))
            chosen = (row["question"], row["chosen"], *row["images"])
            new = 0 if chosen in tokens else row["chosen_tokens"]
            tokens[chosen] = tokens.get(chosen, 0) + new + pair.rejected_tokens - shared
    write_pair_rows(folder, kept, {name: (rows / name).read_bytes() for row in kept for name in row["images"]})
    return {"pairs": len(kept), "generated_tokens": sum(tokens.values())}


def _pairs(data: str) -> Iterator[PreferencePair]:
    """The pairs of a finished dataset, shard after shard."""
    store = open_store(data)
    shards = shards_of(store)
    for shard in range(shards):
        name = layout.shard_key("manifest", shard, shards)
        key = layout.shard_key("pairs", shard, shards)
        for batch in record_batches(sound_file(store, key, read_manifest(store.read(name), name).hashes[key])):
            for row in batch.to_pylist():
                yield PreferencePair.model_validate(row)
