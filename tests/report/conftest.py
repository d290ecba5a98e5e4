"""Datasets to be looked at: an ordinary one, and one whose every text would like to run as a script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import QuestionOutcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.storage.store import open_store
from tests.dataset.conftest import IDENTITY, make_outcome, write_dataset, write_shard

ATTACK = "</script></style><script>window.attacked=1</script><img src=x onerror=window.attacked=1>{{ 7 * 7 }}"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """40 questions in three shards, of two sources and both strategies."""
    write_dataset(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """One shard of which names, questions, answers and responses all carry the attack."""
    store = open_store(tmp_path / "hostile")
    store.write(layout.CONFIG, json_bytes({"digest": IDENTITY, "identity": {"x": ATTACK}}))
    write_shard(store, 0, 1, [_attacked(make_outcome(number)) for number in range(10)])
    store.write(layout.SUMMARY, json_bytes(summarise(store, 1)))
    return tmp_path / "hostile"


def _attacked(outcome: QuestionOutcome) -> QuestionOutcome:
    source = {"source": f"s{ATTACK}", "source_id": outcome.row.source_id + ATTACK}
    said = {**source, "model": ATTACK, "rule": ATTACK}
    rollouts = [r.model_copy(update={**said, "text": ATTACK + r.text, "extracted": ATTACK}) for r in outcome.rollouts]
    row = outcome.row.model_copy(
        update={**source, "text": ATTACK, "prompt": ATTACK, "detail": ATTACK, "choices": (ATTACK, "b")}
    )
    shown = {"question": ATTACK, "prompt": ATTACK, "answer": ATTACK, "model": ATTACK, "shared_chars": 0}
    answers = {f"{side}_{what}": ATTACK for side in ("chosen", "rejected") for what in ("answer", "rule")}
    pairs = [
        p.model_copy(
            update={**source, **shown, **answers, "chosen": ATTACK + p.chosen, "rejected": ATTACK + p.rejected}
        )
        for p in outcome.pairs
    ]
    return QuestionOutcome(row=row, images=outcome.images, rollouts=tuple(rollouts), pairs=tuple(pairs))


def judged(outcome: QuestionOutcome, right: int, pairs: int | None = None, **more: Any) -> QuestionOutcome:
    """The question with so many of its rollouts judged right."""
    rollouts = tuple(
        r.model_copy(update={"outcome": "correct" if i < right else "incorrect", **more})
        for i, r in enumerate(outcome.rollouts)
    )
    kept = outcome.pairs if pairs is None else outcome.pairs[:pairs]
    row = outcome.row.model_copy(update={"correct": right, "incorrect": len(rollouts) - right, "pairs": len(kept)})
    return replace(outcome, row=row, rollouts=rollouts, pairs=kept)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        open_store(folder).write(layout.CONFIG, json_bytes({"digest": IDENTITY, "identity": {}}))
    a, b, c = make_outcome(0), make_outcome(5), make_outcome(10)
    write_shard(open_store(one), 0, 1, [judged(a, 1), judged(b, 3), judged(c, 2)])
    write_shard(open_store(other), 0, 2, [judged(a, 3, text="Another text. 3", rule=ATTACK), judged(b, 1, 1)])
    write_shard(open_store(other), 1, 2, [make_outcome(6)])
    return one, other
