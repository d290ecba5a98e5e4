"""A study goes on where it was stopped, refuses other settings, and its tables are those of its measurements."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.files.load import load
from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan
from mmpr_pipeline.study.recipe import make_study_plan
from mmpr_pipeline.study.results.scores import results_of
from mmpr_pipeline.study.results.table import study_markdown
from mmpr_pipeline.study.run import StepFailed, in_this_process, jobs_that_fit, list_steps, run_study, tell_so_far
from mmpr_pipeline.study.settings import StudyConfig
from mmpr_pipeline.study.steps.step import DONE, LOG, Step, placed

SMALL: dict[str, Any] = {
    "seeds": (0, 1),
    "losses": ("sft", "mpo"),
    "size": 1,
    "sizes": (),
    "dropout_ratios": (),
    "dropout_off": True,
    "flat": False,
    "rounds": 1,
    "jobs": 1,
    "measure": {"questions": {"split": "heldout", "each": 40, "seed": 1}, "resamples": 500},
}
RIGHT = {"base": 10, "sft": 14, "mpo": 30}
"""Of 40 questions, how many each model answers right."""


def config(out: Path, **more: Any) -> StudyConfig:
    return StudyConfig.model_validate({"out": str(out), **SMALL, **more})


class Fake:
    """Does steps by writing what they would write; remembers them, and stops at one that is told."""

    def __init__(self, stop_at: str = "") -> None:
        self.asked: list[str] = []
        self.stop_at = stop_at

    def __call__(self, step: Step, root: Path) -> None:
        self.asked.append(step.name)
        if step.name == self.stop_at:
            raise KeyboardInterrupt
        facts: dict[str, Any] = {"seconds": 1.0}
        if step.kind in ("build", "repair"):
            facts["counts"] = {"pairs": {"correctness": 30, "dropout_ntp": 5}, "rollouts": {"correct": 9}}
            facts["counts"]["generated_tokens"] = 100
        if step.kind == "measure":
            self.measure(step, root)
        step.finish(root, facts)

    def measure(self, step: Step, root: Path) -> None:
        right = next(count for name, count in RIGHT.items() if name in step.name)
        for way, fewer in (("cot", 0), ("cot_sampled", 2), ("direct", 5)):
            folder = step.folder(root) / way
            folder.mkdir(parents=True)
            lines = [
                {
                    "question_id": f"q{n}",
                    "source": ("nano_grid", "nano_chart")[n % 2],
                    "score": float(n < right - fewer),
                }
                for n in range(40)
            ]
            (folder / "responses-0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        false = {"base": 2, "sft": 2, "mpo": 1}[next(name for name in RIGHT if name in step.name)]
        lines = [{"question_id": f"d{n}", "named": 4, "false": false, "missed": 1, "present": 4} for n in range(20)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (step.folder(root) / "describe.jsonl").write_text(text)


def test_a_stopped_study_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, first, second = Fake(), Fake(stop_at="s1/train-sft-1x"), Fake()
    expected = run_study(config(tmp_path / "whole"), doer=whole)
    with pytest.raises(KeyboardInterrupt):
        run_study(config(tmp_path / "cut"), doer=first)
    assert not (tmp_path / "cut" / "table.json").exists()
    listed = list_steps(config(tmp_path / "cut"))
    assert [line.startswith("done") for line in listed] == [n < len(first.asked) - 1 for n in range(len(listed))]
    assert run_study(config(tmp_path / "cut"), doer=second) == expected
    assert first.asked[:-1] + second.asked == whole.asked
    for name in ("table.json", "table.md"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again = Fake()
    assert run_study(config(tmp_path / "cut"), doer=again) == expected
    assert again.asked == []


def test_more_may_be_asked_of_a_study_but_nothing_else(tmp_path: Path) -> None:
    run_study(config(tmp_path), doer=Fake())
    more = Fake()
    run_study(config(tmp_path, seeds=(0, 1, 2)), doer=more)
    assert more.asked
    assert all(name.startswith("s2/") for name in more.asked)
    other = config(tmp_path, training={"lr": 0.5})
    with pytest.raises(ConfigError, match=r"settings.lr: 0.0001 -> 0.5"):
        run_study(other, doer=Fake())


def test_the_tables_say_what_was_measured(tmp_path: Path) -> None:
    found = run_study(config(tmp_path), doer=Fake())
    rows: list[Any] = [*found["tables"]["losses"]]
    base, sft, mpo = rows
    assert [row["label"] for row in (base, sft, mpo)] == ["base", "sft", "mpo"]
    assert base["cot"]["all"]["mean"]["mean"] == 0.25
    gain = mpo["cot"]["all"]["gain"]
    assert (gain["better"], gain["worse"], gain["difference"]["mean"]) == (20, 0, 0.5)
    assert gain["difference"]["low"] > 0.3
    assert (mpo["pairs"], mpo["seeds"], mpo["cot"]["of_seeds"]) == (70, 2, [0.75, 0.75])
    assert mpo["cot"]["nano_grid"]["gain"]["difference"]["mean"] == 0.5
    claims = {claim["name"]: claim for claim in found["headline"]}
    assert claims["mpo_cot"]["held"]
    assert claims["mpo_hallucination"]["difference"]["mean"] == 0.25
    assert claims["cot_direct"]["difference"]["mean"] == pytest.approx(5 / 40)
    text = (tmp_path / "table.md").read_text()
    assert text == study_markdown(found)
    assert "| mpo | 35 | 75.0 (+50.0 [" in text
    assert "77.7 / 79.1" in text
    assert "| losses: mpo | 75.0, 75.0 | 70.0, 70.0 | 62.5, 62.5 | 25.0, 25.0 |" in text


def test_the_tables_of_what_is_done_name_the_seeds_that_they_stand_on(tmp_path: Path) -> None:
    whole = config(tmp_path, sizes=(1, 2))
    with pytest.raises(ConfigError, match="Nothing was measured yet"):
        tell_so_far(whole)
    stopped = Fake(stop_at="s1/measure-mpo-1x")
    with pytest.raises(KeyboardInterrupt):
        run_study(whole, doer=stopped)
    found = tell_so_far(whole)
    assert found["steps"] == {"done": len(stopped.asked) - 1, "of": len(make_study_plan(whole).steps)}
    assert {row["label"]: row["seeds"] for row in found["tables"]["losses"]} == {"base": 1, "sft": 1, "mpo": 1}
    assert {row["label"] for row in found["tables"]["pairs"]} == {"1x"}
    text = (tmp_path / "table.md").read_text()
    assert f"So far: {found['steps']['done']} of {found['steps']['of']} steps" in text
    assert "| mpo (1 of 2 seeds) | 35 |" in text
    run_study(whole, doer=Fake())
    assert "So far" not in (tmp_path / "table.md").read_text()


def test_no_gain_is_not_shown_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RIGHT, "mpo", RIGHT["base"])
    claims = {c["name"]: c for c in run_study(config(tmp_path), doer=Fake())["headline"]}
    assert not claims["mpo_cot"]["held"]
    assert not claims["mpo_sft"]["held"]


def test_models_asked_different_questions_are_not_compared(tmp_path: Path) -> None:
    run_study(config(tmp_path), doer=Fake())
    answers = tmp_path / "steps" / "s1" / "measure-mpo-1x" / "cot" / "responses-0.jsonl"
    answers.write_text(answers.read_text().replace('"q3"', '"other"'))
    with pytest.raises(AssertionError, match="same questions"):
        results_of(config(tmp_path), make_study_plan(config(tmp_path)), tmp_path)


def test_a_step_that_fails_stops_the_study_and_is_done_again(tmp_path: Path) -> None:
    """In its own process, the way a user runs it: the study's base model does not exist."""
    broken = config(tmp_path, engine={"name": "replay", "rollouts": str(tmp_path / "none.jsonl")})
    with pytest.raises(StepFailed, match="base ended with status 1"):
        run_study(broken)
    assert (tmp_path / "steps" / "base" / LOG).is_file()
    assert not (tmp_path / "steps" / "base" / DONE).exists()
    assert list_steps(broken)[0].split() == ["base"]


def test_steps_that_need_nothing_of_each_other_are_done_together(tmp_path: Path) -> None:
    """Three at once meet at a barrier, which two would wait for in vain; every need is done before."""
    begun, barrier = Fake(), threading.Barrier(3, timeout=60)

    def doer(step: Step, root: Path) -> None:
        for name in step.needs:
            assert (root / "steps" / name / DONE).is_file(), f"{step.name} before {name}"
        if step.name in ("base", "s0/build-1x", "s1/build-1x"):
            barrier.wait()
        begun(step, root)

    together = config(tmp_path / "together", jobs=3)
    assert run_study(together, doer=doer) == run_study(config(tmp_path / "one"), doer=Fake())
    assert sorted(begun.asked) == sorted(make_study_plan(together).steps)
    assert list_steps(config(tmp_path / "together"))  # jobs are not part of what a study is


def test_a_step_that_fails_ends_those_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python is a script here that fails for the base as soon as a build, which would take minutes, has begun."""
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    script = tmp_path / "python"
    script.write_text(f"""#!/bin/sh
if [ "$4" = base ]; then
    while [ ! -e {begun} ]; do sleep 0.05; done
    exit 3
fi
trap 'touch {ended}; exit 1' TERM
touch {begun}
while true; do sleep 0.1; done
""")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(StepFailed, match="base ended with status 3"):
        run_study(config(tmp_path / "study", jobs=2))
    assert ended.exists()
    assert not (tmp_path / "study" / "steps" / "s0" / "build-1x" / DONE).exists()


def test_the_whole_way_with_a_scripted_engine(tmp_path: Path) -> None:
    """Build, training and measurement are the pipeline's own; only the model's words are scripted."""
    tiny = config(
        tmp_path,
        seeds=(0,),
        losses=("mpo",),
        dropout_off=False,
        sources=("nano_geometry", "nano_describe"),
        engine={"name": "scripted", "script": {"solve_rate": 0.5}},
        practice={"split": "practice", "each": 3, "seed": 1},
        measure={"questions": {"split": "heldout", "each": 6, "seed": 1}, "samples": 2, "resamples": 200},
        sampling={"samples": 4, "adaptive": False},
        shards=1,
    )
    found = run_study(tiny, doer=in_this_process)
    rows: dict[str, Any] = {row["label"]: row for row in found["tables"]["losses"]}
    assert rows["mpo"]["pairs"] > 0
    assert rows["mpo"]["cot"]["all"]["gain"]["difference"]["mean"] == 0.0  # both are the same script
    model = tmp_path / "steps" / "s0" / "train-mpo-1x" / "model"
    assert (model / "model.safetensors").is_file()
    assert not list((tmp_path / "steps").rglob("checkpoints/step-*"))
    without = make_study_plan(tiny.model_copy(update={"dropout_off": True})).steps["s0/build-1x-nodrop"]
    given = placed(without.settings, tmp_path)
    rework = make_rebuild_plan(given.pop("before"), given)
    assert rework.config.pairing.strategies == ("correctness",)
    assert sum(1 for _ in rework.read(0)) == 6


@pytest.mark.slow  # three builds
@pytest.mark.campaign
def test_feedback_and_dropout_are_compared_on_the_same_chosen_responses(tmp_path: Path) -> None:
    """All steps are the pipeline's own; the model's words and probabilities are scripted."""
    tiny = config(
        tmp_path,
        seeds=(0,),
        losses=(),
        dropout_off=False,
        sources=("nano_describe",),
        engine={"name": "scripted"},
        feedback={"labels": "model", "verify": "first_word", "each": 8, "answers": 4, "training": {"batch": 4}},
        practice={"split": "practice", "each": 3, "seed": 1},
        measure={"questions": {"split": "heldout", "each": 4, "seed": 1}, "resamples": 200},
        shards=1,
    )
    found = run_study(tiny, doer=in_this_process)
    base, (feedback, dropped) = found["tables"]["losses"][0], found["tables"]["feedback"]
    assert feedback["pairs"] == dropped["pairs"] > 0
    assert "hallucination" in base
    steps = tmp_path / "steps" / "s0"

    def pairs(built: str) -> list[tuple[str, str]]:
        return sorted((pair["chosen"], pair["rejected"]) for pair in load(steps / built / "data"))

    both, continued = pairs("build-both"), pairs("build-dropout")
    assert [chosen for chosen, _ in both] == [chosen for chosen, _ in continued]
    assert set(both) <= set(pairs("build-feedback"))
    assert not {rejected for _, rejected in both} & {rejected for _, rejected in continued}
    asked = json.loads((steps / "build-feedback" / DONE).read_text())["counts"]
    assert asked["beside_tokens"]["claim"] == asked["rollouts"]["claim"] > 0
    assert feedback["tokens_a_pair"] == asked["generated_tokens"] / asked["pairs"]["feedback"]
    assert 0 < dropped["tokens_a_pair"] < feedback["tokens_a_pair"]


def test_jobs_follow_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def machine(cores: int, gib: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, gib * 2**30 // 4096))

    machine(2, 24)
    assert (jobs_that_fit(1), jobs_that_fit(2), jobs_that_fit(4)) == (2, 1, 1)
    machine(64, 24)
    assert jobs_that_fit(1) == 4
    machine(1, 2)
    assert jobs_that_fit(1) == 1


def test_paths_are_meant_from_the_study(tmp_path: Path) -> None:
    given = {"a": "./x/y", "b": ["./z", "nano", 3], "c": {"d": None}}
    expected = {"a": str(tmp_path / "x/y"), "b": [str(tmp_path / "z"), "nano", 3], "c": {"d": None}}
    assert placed(given, tmp_path) == expected
