"""Small datasets made of made-up outcomes, written by the real writer."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import (
    CheckedRollout,
    Image,
    PreferencePair,
    QuestionOutcome,
    QuestionRow,
    content_id,
    question_id,
)
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.dataset.files.writer import ShardWriter
from mmpr_pipeline.storage import Store, open_store

SHARDS = 3
IDENTITY = "0" * 32


def make_image(number: int) -> Image:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (20 + number % 7, 10), (number % 256, 100, 50)).save(buffer, "PNG")
    data = buffer.getvalue()
    name = hashlib.sha256(data).hexdigest()
    return Image(sha256=name, data=data, format="png", width=20 + number % 7, height=10)


def make_rollout(qid: str, source: str, index: int, outcome: str | None, **more: Any) -> CheckedRollout:
    text = f"The bars are read one by one. Reading {index} of {qid[:6]}. Final answer: {index if outcome else 'none'}"
    fields: dict[str, Any] = {
        "question_id": qid, "round": 0, "index": index, "seed": 1000 + index, "text": text, "tokens": 20 + index,
        "prompt_tokens": 50, "finish_reason": "stop", "model": "scripted", "prompt_version": "cot-final-en@1",
        "source": source, "source_id": "s", "outcome": outcome, "extracted": str(index) if outcome else None,
        "rule": "number" if outcome else None, "checker": "mmpr@1" if outcome else None,
    }  # fmt: skip
    return CheckedRollout(**{**fields, **more})


def make_pair(row: dict[str, Any], chosen: CheckedRollout, rejected: CheckedRollout, strategy: str) -> PreferencePair:
    return PreferencePair(
        pair_id=content_id(row["question_id"], strategy, chosen.text, rejected.text),
        question_id=row["question_id"],
        source=row["source"],
        source_id=row["source_id"],
        strategy=strategy,  # type: ignore[arg-type]
        question=row["text"],
        prompt=row["prompt"],
        images=row["images"],
        chosen=chosen.text,
        rejected=rejected.text,
        answer=row["answer"],
        chosen_answer=chosen.extracted,
        rejected_answer=rejected.extracted,
        chosen_tokens=chosen.tokens,
        rejected_tokens=rejected.tokens,
        prompt_tokens=chosen.prompt_tokens,
        chosen_index=chosen.index,
        rejected_index=rejected.index,
        chosen_rule=chosen.rule or "",
        rejected_rule=rejected.rule or "",
        shared_chars=rejected.prefix_chars,
        kind=row["kind"],
        language="en",
        model=chosen.model,
        rejected_model=rejected.model,
        prompt_version=chosen.prompt_version,
        checker="mmpr@1",
        seed=chosen.seed,
        rejected_seed=rejected.seed,
    )


def make_outcome(number: int, source: str = "bars", rollouts: int = 4) -> QuestionOutcome:
    """Question `number`: by its rest modulo 5 rejected, unpaired, or paired by either strategy."""
    fate = number % 5
    if fate == 4:
        row = QuestionRow(
            source=source, source_id=f"row {number}", question_id=None, status="rejected", reason="broken_image"
        )
        return QuestionOutcome(row=row)
    image = make_image(number // 2)  # two questions share an image
    text = f"How tall is bar {number}?"
    qid = question_id(source, [image.sha256], text)
    row: dict[str, Any] = {  # type: ignore[no-redef]
        "source": source, "source_id": f"q{number}", "question_id": qid, "text": text, "images": (image.sha256,),
        "prompt": f"<image>\n{text}\nThink step by step.", "kind": "none" if fate == 2 else "number",
        "answer": None if fate == 2 else "0",
    }  # fmt: skip
    outcomes = {0: ["correct", "incorrect"], 1: ["correct", "incorrect"], 2: [None], 3: ["unparseable"]}[fate]
    sampled = [make_rollout(qid, source, i, outcomes[i % len(outcomes)]) for i in range(rollouts)]  # type: ignore[index]
    pairs, continued = [], []
    if fate in (0, 1):
        pairs = [make_pair(row, sampled[i], sampled[i + 1], "correctness") for i in range(0, rollouts, 2)]
    if fate == 2:
        cut = sampled[0].text[:25]
        continued = [
            make_rollout(qid, source, rollouts, None, parent=0, prefix_chars=25, text=cut + " blindly they are tall.")
        ]
        pairs = [make_pair(row, sampled[0], continued[0], "dropout_ntp")]
    every = [*sampled, *continued]
    seen = [r.outcome for r in sampled]
    became = QuestionRow(
        **row,
        status="paired" if pairs else "unpaired",
        reason=None if pairs else "no_correct",
        pairs=len(pairs),
        rollouts=len(sampled),
        rounds=1,
        correct=seen.count("correct"),
        incorrect=seen.count("incorrect"),
        unparseable=seen.count("unparseable"),
        generated_tokens=sum(r.tokens for r in every),
    )
    return QuestionOutcome(row=became, images=(image,), rollouts=tuple(every), pairs=tuple(pairs))


def write_shard(store: Store, shard: int, of: int, outcomes: list[QuestionOutcome]) -> dict[str, Any]:
    with store.workspace() as folder:
        writer = ShardWriter(store, folder, shard, of, IDENTITY)
        for outcome in outcomes:
            writer.add(outcome)
        return writer.finish().model_dump(mode="json")


def write_dataset(url: str | Path, questions: int = 40, shards: int = SHARDS) -> Store:
    """A finished dataset of two sources."""
    store = open_store(url)
    store.write(layout.CONFIG, json_bytes({"digest": IDENTITY, "identity": {}}))
    for shard in range(shards):
        numbers = range(shard, questions, shards)
        write_shard(store, shard, shards, [make_outcome(n, "bars" if n % 3 else "grids") for n in numbers])
    store.write(layout.SUMMARY, json_bytes(summarise(store, shards)))
    return store


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A finished dataset of three shards in a local directory."""
    write_dataset(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def outcome_of() -> Callable[..., QuestionOutcome]:
    return make_outcome
