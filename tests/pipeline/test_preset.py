"""Preset pairs: what sources bring becomes a dataset like any other, row by row, in its own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mmpr_pipeline
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import PresetPair, Question, QuestionOutcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.engines.recorded import PresetEngine
from mmpr_pipeline.pairing.preset import Preset
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import Recipe
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.driver import run_build
from mmpr_pipeline.pipeline.output import finish
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.question import work_question
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.rollouts.prompts import with_own_prompt
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from mmpr_pipeline.storage import open_store
from tests.pipeline.made import files_of, png
from tests.pipeline.workers.test_shards_on_ray import Silent
from tests.records import a_question

RECIPE = Recipe(SamplingSettings(), PairingSettings(strategies=("preset",)), seed=0)
ASKED = "How many dots are in picture {}? Answer with a number only."
DECLARATION = """
name: brought
description: Pairs that are there already.
files: rows.jsonl
kind: {kind}
columns: {{question: question, image: image, chosen: chosen, rejected: rejected{more}}}
"""


async def outcome_of(question: Question) -> QuestionOutcome:
    return await work_question(with_own_prompt(question), PresetEngine(), RECIPE, [Preset()])


async def test_the_pair_is_the_sources_with_the_checkers_opinion_beside_it() -> None:
    preset = PresetPair(chosen="I see 4.\nFinal answer: 4", rejected="Final answer: 3")  # the gold is 3
    outcome = await outcome_of(a_question(preset=preset))
    [pair] = outcome.pairs
    assert (pair.chosen, pair.rejected, pair.strategy) == (preset.chosen, preset.rejected, "preset")
    assert (pair.chosen_index, pair.rejected_index, pair.prompt_version) == (0, 1, "preset@1")
    assert [rollout.outcome for rollout in outcome.rollouts] == ["incorrect", "correct"], "told, not obeyed"
    assert (outcome.row.status, outcome.row.rollouts, outcome.row.incorrect) == ("paired", 2, 1)


@pytest.mark.parametrize(
    ("preset", "reason"),
    [(None, "no_preset_pair"), (PresetPair(chosen="A cat.", rejected=" A cat. "), "same_responses")],
)
async def test_what_is_no_pair_is_told(preset: PresetPair | None, reason: str) -> None:
    row = (await outcome_of(a_question(kind="none", answer=None, preset=preset))).row
    assert (row.status, row.reason, row.pairs) == ("unpaired", reason, 0)


def brought(folder: Path, rows: list[dict[str, Any]], kind: str = "none", more: str = "") -> Path:
    """A source of pairs; its declaration."""
    folder.mkdir(parents=True)
    for i in range(4):
        (folder / f"{i}.png").write_bytes(png((i * 60, 90, 200)))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "brought.yaml").write_text(DECLARATION.format(kind=kind, more=more))
    return folder / "brought.yaml"


def three_each() -> list[dict[str, Any]]:
    """Three pairs for each of four questions, one row a pair; then a torn one."""
    rows: list[dict[str, Any]] = [
        {"question": ASKED.format(i // 3), "image": f"{i // 3}.png", "chosen": f"{i} is it.", "rejected": f"{i}? No."}
        for i in range(12)
    ]
    return [*rows, {"question": ASKED.format(0), "image": "0.png", "chosen": "Only one.", "rejected": None}]


async def shards_of(plan: Plan, engine: Any) -> Path:
    store = open_store(plan.config.out)
    described = {"digest": plan.digest, "identity": plan.identity, "sources": plan.described_sources}
    store.write(layout.CONFIG, json_bytes({**described, "config": plan.config.model_dump(mode="json")}))
    for shard in range(plan.config.shards):
        await work_shard(plan, shard, engine, lambda tally: None)
    finish(store, plan, {"shards": plan.config.shards})
    assert verify(plan.config.out).problems == []
    return Path(plan.config.out)


def config_of(source: Path, out: Path, **more: Any) -> Any:
    return load_config(None, {"sources": [str(source)], "out": str(out), "engine.name": "given", **more})


async def test_rows_of_one_question_are_pairs_of_their_own(tmp_path: Path) -> None:
    plan = make_build_plan(config_of(brought(tmp_path / "source", three_each()), tmp_path / "out", shards=2))
    out = await shards_of(plan, None)
    pairs = mmpr_pipeline.load(str(out))
    assert [(pair["chosen"], pair["rejected"]) for pair in pairs] == [(f"{i} is it.", f"{i}? No.") for i in range(12)]
    assert pairs[0]["prompt"] == "<image>\n" + ASKED.format(0), "what was answered, instruction and all"
    assert len({pair["pair_id"] for pair in pairs}) == 12
    summary = json.loads((out / layout.SUMMARY).read_text())
    assert summary["counts"]["unpaired"] == {"no_preset_pair": 1}
    assert len(summary["counts"]["pairs"]) == 1


async def test_from_rollouts_gives_the_same_bytes(tmp_path: Path) -> None:
    plan = make_build_plan(config_of(brought(tmp_path / "source", three_each()), tmp_path / "out", shards=1))
    before = await shards_of(plan, None)
    after = await shards_of(make_rebuild_plan(str(before), {"out": str(tmp_path / "again"), "sources": None}), None)
    for name, raw in files_of(before).items():
        assert name.startswith("manifests") or files_of(after)[name] == raw


async def test_conversations_that_end_in_the_response(tmp_path: Path) -> None:
    def turns(answer: str) -> list[dict[str, Any]]:
        asked = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
        return [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": f"{answer}\ud83d"},
        ]  # half an emoji

    rows = [{"question": turns("")[:1], "image": "0.png", "chosen": turns("A dog."), "rejected": turns("A cat.")[1:]}]
    plan = make_build_plan(config_of(brought(tmp_path / "source", rows), tmp_path / "out", shards=1))
    [pair] = mmpr_pipeline.load(str(await shards_of(plan, None)))
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("<image>\nWhat is this?", "A dog.�", "A cat.�")


def test_a_source_without_pairs_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nano_grid brings no pairs") as refused:
        make_build_plan(load_config(None, {"sources": ["nano_grid"], "out": str(tmp_path), "engine.name": "given"}))
    assert "with an engine" in str(refused.value)


def test_one_half_of_a_pair_is_refused(tmp_path: Path) -> None:
    path = brought(tmp_path / "source", three_each())
    path.write_text(path.read_text().replace("rejected: rejected", "id: image"))
    with pytest.raises(ConfigError, match="name both columns, or none"):
        make_build_plan(config_of(path, tmp_path / "out"))


def test_what_is_given_is_taken_once_and_whole(tmp_path: Path) -> None:
    source = brought(tmp_path / "source", three_each())
    config = config_of(source, tmp_path / "out")
    assert (config.screening.dedup, config.preset, config.screening.decontaminate) == (False, True, "ask")
    assert config_of(source, tmp_path / "out", **{"screening.dedup": True}).screening.dedup
    with pytest.raises(ConfigError, match="remove repeat"):
        load_config(None, {"sources": [f"{source}*2"], "out": str(tmp_path), "engine.name": "given"})


@pytest.mark.slow
def test_a_build_of_given_pairs_leaves_out_what_an_evaluation_set_asks(tmp_path: Path) -> None:
    source = brought(tmp_path / "source", three_each())
    held = tmp_path / "held.yaml"
    (tmp_path / "held.jsonl").write_text(json.dumps({"question": ASKED.format(1), "image": "source/1.png", "a": "4"}))
    held.write_text("name: held\ndescription: Held out.\nfiles: held.jsonl\nkind: number\nrole: evaluation\n"
                    "columns: {question: question, image: image, answer: a}\n")  # fmt: skip
    more = {"shards": 2, "screening.against": [str(held)], "workers": 1}
    summary = run_build(config_of(source, tmp_path / "out", **more), Silent())
    assert verify(str(tmp_path / "out")).problems == []
    counts = summary["counts"]
    assert (counts["pairs"], counts["rejected"]) == ({"preset": 9}, {"contaminated": 3})
