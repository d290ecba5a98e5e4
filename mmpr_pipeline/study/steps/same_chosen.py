"""Chosen responses handed from one build to another: pairs of a dataset as rows of a source.

Feedback and DropNTP are compared on the same chosen responses. What feedback chose becomes a source, for the strategy
`dropout_preset`; and of feedback's pairs those whose chosen response DropNTP could use become one, for `preset`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mmpr_pipeline.core.records import PreferencePair
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, sound_file
from mmpr_pipeline.dataset.files.manifest import read_manifest
from mmpr_pipeline.dataset.files.reader import stored_questions
from mmpr_pipeline.dataset.files.summary import shards_of
from mmpr_pipeline.storage import open_store

NAME = "same_chosen"
_DECLARATION = {
    "name": NAME,
    "description": "Chosen responses of another build, with its rejected ones.",
    "files": "rows.jsonl",
    "role": "train",
    "kind": "none",
    "columns": {"id": "id", "question": "question", "image": "images", "chosen": "chosen", "rejected": "rejected"},
}


def hand_over_pairs(data: str, folder: Path, only_chosen_in: str | None) -> dict[str, int]:
    """Write the pairs of a finished dataset as rows, with the declaration `same_chosen.yaml`.

    `only_chosen_in`: a DropNTP dataset made from these rows; those whose chosen response has no pair there are left
    out. Gives the rows, as `pairs`, and with that dataset the `generated_tokens` that its pairs took: those of the
    chosen responses, each once, and of the continuations.
    """
    continued = {} if only_chosen_in is None else {_key(pair): pair for pair in _pairs(only_chosen_in)}
    out, store, lines = open_store(folder), open_store(data), []
    shards = shards_of(store)
    images = {
        image.sha256: image
        for shard in range(shards)
        for stored in stored_questions(store, shard, shards)
        for image in stored.images
    }
    written = set()
    tokens: dict[tuple[str, ...], int] = {}
    for pair in _pairs(data):
        if only_chosen_in is not None and _key(pair) not in continued:
            continue
        if only_chosen_in is not None:
            dropped = continued[_key(pair)]
            shared = round(pair.chosen_tokens * dropped.shared_chars / len(pair.chosen))
            tokens[_key(pair)] = pair.chosen_tokens + dropped.rejected_tokens - shared
        names = [f"{sha256}.{images[sha256].format}" for sha256 in pair.images]
        for sha256, name in zip(pair.images, names, strict=True):
            if sha256 not in written:
                out.write(name, images[sha256].data)
                written.add(sha256)
        row = {"id": pair.pair_id, "question": pair.question, "images": names}
        lines.append(json.dumps({**row, "chosen": pair.chosen, "rejected": pair.rejected}, ensure_ascii=False) + "\n")
    out.write("rows.jsonl", "".join(lines).encode())
    out.write(f"{NAME}.yaml", json.dumps(_DECLARATION, indent=1).encode())  # JSON is YAML
    return {"pairs": len(lines), "generated_tokens": sum(tokens.values())}


def _key(pair: PreferencePair) -> tuple[str, ...]:
    """The question, its images, and the chosen response."""
    return (pair.question, pair.chosen, *pair.images)


def _pairs(data: str) -> Iterator[PreferencePair]:
    """The pairs of a finished dataset, shard after shard."""
    store = open_store(data)
    shards = shards_of(store)
    for shard in range(shards):
        name = layout.manifest(shard, shards)
        key = layout.data("pairs", shard, shards)
        for batch in record_batches(sound_file(store, key, read_manifest(store.read(name), name).hashes[key])):
            for row in batch.to_pylist():
                yield PreferencePair.model_validate(row)
