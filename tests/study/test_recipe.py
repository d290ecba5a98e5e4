"""The steps of a study follow from its settings: what several rows use is made once, in an order that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources.source import open_source
from mmpr_pipeline.study.recipe import make_study_plan, rows_so_far
from mmpr_pipeline.study.run import write_sources
from mmpr_pipeline.study.settings import QuestionSettings, StudyConfig, load_study_config
from mmpr_pipeline.study.steps.step import Step


def config(**more: object) -> StudyConfig:
    return StudyConfig.model_validate({"out": "out", **more})


def settings_of(step: Step) -> Any:
    return step.settings


def test_every_step_comes_after_what_it_needs() -> None:
    plan = make_study_plan(config())
    seen: set[str] = set()
    for step in plan.steps.values():
        assert seen.issuperset(step.needs), step.name
        seen.add(step.name)
    named = {name for row in plan.rows for name in (*row.measured, *row.built)}
    assert named <= seen


def test_all_losses_train_on_the_same_pairs_for_the_same_time() -> None:
    plan = make_study_plan(config(sizes=(), dropout_ratios=(), dropout_off=False, flat=False, rounds=1, seeds=(4,)))
    trained = [step for step in plan.steps.values() if step.kind == "train"]
    assert [step.settings["loss"] for step in trained] == ["sft", "dpo", "bco", "dpo+sft", "bco+sft", "mpo"]
    own = {"loss", "run_dir", "export"}
    assert len({str({k: v for k, v in step.settings.items() if k not in own}) for step in trained}) == 1
    assert sum(step.kind == "build" for step in plan.steps.values()) == 1


def test_what_two_tables_use_is_made_once() -> None:
    plan = make_study_plan(config(seeds=(0,)))
    of = {(row.table, row.label): row.measured for row in plan.rows}
    assert of["losses", "mpo"] == of["pairs", "3x"] == of["rounds", "1"]
    assert of["pairs", "1x"] == of["DropNTP", "0.5"] == of["sampling", "adaptive"]
    builds = [step for step in plan.steps.values() if step.kind == "build"]
    assert len({str(step.settings) for step in builds}) == len(builds)


def test_every_table_is_done_for_all_seeds_before_the_next() -> None:
    steps = list(make_study_plan(config()).steps)
    assert steps.index("s2/measure-mpo-3x") < steps.index("s0/measure-mpo-1x")
    assert steps.index("s2/measure-mpo-3x-round2") < steps.index("s0/build-10x")


def test_rows_of_one_table_are_told_of_the_same_seeds() -> None:
    rows = make_study_plan(config()).rows
    measured = {name for row in rows for name in row.measured}
    assert rows_so_far(rows, measured) == rows
    told = rows_so_far(rows, measured - {"s1/measure-dpo-3x", "s0/measure-mpo-10x"})
    seeds = {(row.table, row.label): {name[:2] for name in row.built} for row in told}
    assert all(seeds["losses", loss] == {"s0", "s2"} for loss in ("sft", "dpo", "mpo"))
    assert seeds["pairs", "1x"] == seeds["pairs", "10x"] == {"s1", "s2"}
    assert seeds["rounds", "2"] == {"s0", "s1", "s2"}
    few = rows_so_far(rows, {"base", "s0/measure-mpo-3x", "s1/measure-sft-3x"})
    assert [(row.label, row.measured) for row in few if row.table == "losses"] == [
        ("base", ("base",)), ("sft", ("s1/measure-sft-3x",)), ("mpo", ("s0/measure-mpo-3x",)),
    ]  # fmt: skip


def test_a_second_round_asks_its_model_new_questions() -> None:
    plan = make_study_plan(config(seeds=(0,)))
    first, second = plan.steps["s0/build-3x"], plan.steps["s0/build-3x-round2"]
    before, after = settings_of(first), settings_of(second)
    assert after["engine"]["model"] == "./steps/s0/train-mpo-3x/model"
    assert second.needs == ("s0/train-mpo-3x",)
    assert not {*before["sources"]} & {*after["sources"]}
    seeds = [questions.seed for questions in plan.sources.values()]
    assert len(set(seeds)) == len(seeds)
    assert plan.steps["s0/train-mpo-3x-round2"].settings["model"] == after["engine"]["model"]


def test_seeds_differ_in_questions_sampling_and_order() -> None:
    plan = make_study_plan(config(seeds=(0, 1)))
    for kind in ("build-3x", "train-mpo-3x"):
        one, two = (plan.steps[f"s{seed}/{kind}"].settings for seed in (0, 1))
        assert (one["seed"], two["seed"]) == (0, 1)
    assert plan.steps["s0/build-3x"].settings["sources"] != plan.steps["s1/build-3x"].settings["sources"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sources": ("mathvista",)}, "no nano source"),
        ({"losses": ("mpo", "ppo")}, "unknown loss: ppo"),
        ({"practice": {"split": "heldout", "each": 10, "seed": 1}}, "learned from"),
    ],
)
def test_settings_that_cannot_work_are_refused(more: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_study_config(None, {"out": "out", **more})


def test_signals_are_paired_in_their_own_ways_on_the_same_questions() -> None:
    signals = {"format": {"strategies": ["correctness", "format"]}, "vote": {"strategies": ["vote"]}}
    plan = make_study_plan(config(seeds=(0,), signals=signals, unlabelled=["vote"]))
    plain, form, vote = (settings_of(plan.steps[f"s0/build-{name}"]) for name in ("1x", "format", "vote"))
    assert (form["sources"], form["limit"], form["seed"]) == (plain["sources"], plain["limit"], plain["seed"])
    assert form["pairing"]["strategies"] == ["correctness", "format"]
    assert vote["sources"] == ["./sources/unlabelled-100/" + source.rpartition("/")[2] for source in plain["sources"]]
    assert not plan.sources["unlabelled-100"].answers
    assert plan.sources["practice-100"].answers
    assert [row.label for row in plan.rows if row.table == "signals"] == ["format", "vote"]
    with pytest.raises(ConfigError, match="no signal stemp"):
        load_study_config(None, {"signals": signals, "unlabelled": ["stemp"]})


def test_questions_without_answers_are_declared_open(tmp_path: Path) -> None:
    write_sources(tmp_path, ("nano_grid",), QuestionSettings(split="practice", each=3, seed=1, answers=False))
    source = open_source(str(tmp_path / "nano_grid.yaml"))
    questions = list(source.read(source.index(None), 0, 3))
    assert [question.answer for question in questions if isinstance(question, Question)] == [None] * 3
