"""--from-rollouts: the same rules give the same pairs; other rules and marks give others, and nothing is sampled."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.checking import CHECKER, check_question
from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.core.verdict import Verdict
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.output import finish
from mmpr_pipeline.pipeline.plans.from_rollouts import RebuildPlan, make_rebuild_plan
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.rollouts import sampling
from mmpr_pipeline.storage import open_store
from tests.pipeline.made import files_of, make_source


def quiet(tally: Counter[str]) -> None:
    pass


async def made(tmp_path: Path, **settings: Any) -> Path:
    """A finished dataset by the scripted engine."""
    source = make_source(tmp_path / "source", questions=30, open_ended=5)
    out = tmp_path / "sampled"
    plan = make_build_plan(
        load_config(
            None, {"sources": [str(source)], "out": str(out), "shards": 2, "engine.name": "scripted", **settings}
        )
    )
    store = open_store(str(out))
    described = {"digest": plan.digest, "identity": plan.identity, "sources": plan.described_sources}
    store.write(layout.CONFIG, json_bytes({**described, "config": plan.config.model_dump(mode="json")}))
    for shard in (0, 1):
        await work_shard(plan, shard, make_engine(plan.config.engine), quiet)
    finish(store, plan, {"shards": 2})
    return out


async def reworked(plan: RebuildPlan) -> Path:
    store = open_store(plan.config.out)
    described = {"digest": plan.digest, "identity": plan.identity, "sources": plan.described_sources}
    store.write(layout.CONFIG, json_bytes({**described, "config": plan.config.model_dump(mode="json")}))
    for shard in range(plan.config.shards):
        await work_shard(plan, shard, None, quiet)
    finish(store, plan, {"shards": 2})
    assert verify(plan.config.out).problems == []
    return Path(plan.config.out)


def data_of(out: Path) -> dict[str, bytes]:
    return {name: raw for name, raw in files_of(out).items() if not name.startswith("manifests")}


async def test_the_same_rules_give_the_same_bytes(tmp_path: Path) -> None:
    before = await made(tmp_path)
    after = await reworked(make_rebuild_plan(str(before), {"out": str(tmp_path / "again"), "sources": None}))
    assert data_of(after) == data_of(before)


async def test_another_pairing_rule_keeps_the_rollouts(tmp_path: Path) -> None:
    before = await made(tmp_path)
    after = await reworked(make_rebuild_plan(str(before), {"out": str(tmp_path / "fewer"), "pairing.max_pairs": 2}))
    pairs = json.loads((after / "summary.json").read_text())["counts"]["pairs"]
    assert pairs["correctness"] < json.loads((before / "summary.json").read_text())["counts"]["pairs"]["correctness"]
    for name, raw in data_of(before).items():
        if name.startswith(("rollouts", "images")):
            assert data_of(after)[name] == raw


async def test_marks_stand_above_the_checker(tmp_path: Path) -> None:
    import mmpr_pipeline

    before = await made(tmp_path)
    pair = next(p for p in mmpr_pipeline.load(str(before)) if p["strategy"] == "correctness")
    mark = {"question_id": pair["question_id"], "index": pair["chosen_index"], "outcome": "ignore", "note": "lucky"}
    (before / "marks.jsonl").write_text(json.dumps(mark) + "\n" + '{"torn')
    plan = make_rebuild_plan(str(before), {"out": str(tmp_path / "marked")})
    assert dict(plan.marks) == {(pair["question_id"], pair["chosen_index"]): "unparseable"}
    assert plan.notes == ["1 mark counted (marks.jsonl)"]
    after = await reworked(plan)
    same = [p for p in mmpr_pipeline.load(str(after)) if p["question_id"] == pair["question_id"]]
    assert same
    assert pair["chosen_index"] not in {p["chosen_index"] for p in same}


async def test_what_was_sampled_cannot_be_changed(tmp_path: Path) -> None:
    before = await made(tmp_path)
    with pytest.raises(ConfigError, match=r"sampling\.samples cannot change"):
        make_rebuild_plan(str(before), {"out": str(tmp_path / "x"), "sampling.samples": 64})
    with pytest.raises(ConfigError, match="a separate output"):
        make_rebuild_plan(str(before), {"out": str(before)})
    (before / "summary.json").unlink()
    with pytest.raises(DatasetError, match="not a finished dataset"):
        make_rebuild_plan(str(before), {"out": str(tmp_path / "x")})
    (before / "marks.jsonl").write_text('{"index": 1}\n')


async def test_a_source_s_own_prompt_is_kept_word_for_word(tmp_path: Path) -> None:
    """Pairs are made again under the prompt that was sampled, whatever the build or the source would ask today."""
    source = make_source(tmp_path / "own", questions=30, open_ended=5)
    source.write_text(source.read_text() + "prompt: {cot: 'Work it out. Final answer: X'}\n")
    before = await made(tmp_path, sources=[str(source)])
    plan = make_rebuild_plan(str(before), {"out": str(tmp_path / "again")})
    again = await reworked(plan)
    assert data_of(again) == data_of(before)
    prompts = {pair["prompt"].splitlines()[-1] for pair in rows_of(again, "pairs") if pair["kind"] != "none"}
    assert prompts == {"Work it out. Final answer: X"}


async def test_an_output_of_an_older_checker_is_judged_and_paired_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rollouts, texts and seeds; verdicts and pairs as if they had been sampled today."""

    def older(question: Question, text: str) -> Verdict:
        verdict = replace(check_question(question, text), checker="mmpr-checker@2")
        return replace(verdict, outcome="incorrect", rule="other_value") if int(question.answer or 0) % 3 else verdict

    flat = {"sampling.adaptive": False, "sampling.samples": 8}  # else verdicts decide how much is sampled
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "check_question", older)
        before = await made(tmp_path, **flat)
    today = await made(tmp_path / "today", **flat)
    plan = make_rebuild_plan(str(before), {"out": str(tmp_path / "again")})
    assert plan.identity["checker"] != "mmpr-checker@2"
    after = await reworked(plan)
    judged = {name: sampled(out) for name, out in (("before", before), ("after", after), ("today", today))}
    assert [row["text"] for row in judged["before"]] == [row["text"] for row in judged["after"]]
    assert {row["checker"] for row in judged["before"]} - {None} == {"mmpr-checker@2"}
    assert {row["checker"] for row in judged["after"]} - {None} == {CHECKER}
    changed = sum(a["outcome"] != b["outcome"] for a, b in zip(judged["before"], judged["after"], strict=True))
    assert changed > 10
    assert judged["after"] == judged["today"]
    assert by_correctness(after) == by_correctness(today) != by_correctness(before)


def sampled(out: Path) -> list[dict[str, Any]]:
    """Rollouts with the image; what was continued without it depends on the verdicts of its day."""
    return [row for row in rows_of(out, "rollouts") if row["parent"] is None]


def by_correctness(out: Path) -> list[dict[str, Any]]:
    return [row for row in rows_of(out, "pairs") if row["strategy"] == "correctness"]


def rows_of(out: Path, kind: str) -> list[dict[str, Any]]:
    return [
        row for n in (0, 1) for batch in record_batches(out / layout.shard_key(kind, n, 2)) for row in batch.to_pylist()
    ]
