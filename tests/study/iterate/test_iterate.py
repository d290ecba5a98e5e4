"""Rounds go on while accuracy rises, are done once, and shown on a page; questions are held out of one's own data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import mmpr_pipeline as mmpr
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.sources.source import open_source
from mmpr_pipeline.study.iterate.run import PAGE, RESULTS, run_iterate
from mmpr_pipeline.study.iterate.settings import IterateConfig, load_iterate_config
from mmpr_pipeline.study.steps.held_out import hold_out_questions
from mmpr_pipeline.study.steps.step import Step
from tests.pipeline.made import make_source


def config(out: Path, **more: Any) -> IterateConfig:
    source = make_source(out.parent / "source", questions=30, open_ended=3)
    build = {"sources": [str(source)], "engine": {"name": "scripted"}}
    return IterateConfig.model_validate({"out": str(out), "build": build, **more})


class Fake:
    """Does steps by writing what they would write: accuracies in turn, from the model to begin with on."""

    def __init__(self, accuracies: Sequence[float], stop_at: str = "") -> None:
        self.asked: list[str] = []
        self.accuracies, self.stop_at = accuracies, stop_at

    def __call__(self, step: Step, root: Path) -> None:
        self.asked.append(step.name)
        if step.name == self.stop_at:
            raise KeyboardInterrupt
        number = int(step.name.partition("/")[0].rpartition("-")[2]) if step.name != "held-out" else 0
        right = {"questions": 9, "mean": self.accuracies[number], "low": 0.0, "high": 1.0}
        facts = {
            "build": {"counts": {"pairs": {"correctness": 7}, "generated_tokens": 90, "questions": 27}},
            "train": {"steps": 3},
            "evaluate": {"accuracy": {"all": right}},
            "hold_out": {"questions": 9},
        }
        step.finish(root, facts[step.kind])


def test_rounds_go_on_while_accuracy_rises_each_from_the_model_before(tmp_path: Path) -> None:
    fake = Fake([0.2, 0.5, 0.6, 0.55, 0.9])
    results = run_iterate(config(tmp_path / "out", rounds=4), doer=fake)
    assert [each["round"] for each in results["rounds"]] == [0, 1, 2, 3]
    assert results["best"] == {"round": 2, "model": "./steps/round-2/train/model"}
    assert "round 3 did not raise" in results["stopped"]
    build = json.loads((tmp_path / "out/steps/round-2/build/step.json").read_text())["settings"]
    assert build["engine"]["model"] == "./steps/round-1/train/model"
    assert build["seed"] == 1
    assert build["screening"]["against"] == ["./steps/held-out/questions/held_out.yaml"]
    page = (tmp_path / "out" / PAGE).read_text()
    assert "Best: round 2, 60.0%" in page
    assert page.count("<svg") == 4


def test_a_stopped_iteration_goes_on_with_the_step_that_was_not_done(tmp_path: Path) -> None:
    whole, broken = Fake([0.2, 0.3, 0.4]), Fake([0.2, 0.3, 0.4], stop_at="round-1/train")
    expected = run_iterate(config(tmp_path / "whole", rounds=2), doer=whole)
    with pytest.raises(KeyboardInterrupt):
        run_iterate(config(tmp_path / "broken", rounds=2), doer=broken)
    rest = Fake([0.2, 0.3, 0.4])
    found = run_iterate(config(tmp_path / "broken", rounds=2), doer=rest)
    assert rest.asked == whole.asked[whole.asked.index("round-1/train") :]
    assert found["rounds"] == expected["rounds"]
    again = Fake([])
    run_iterate(config(tmp_path / "broken", rounds=2), doer=again)
    assert again.asked == []
    assert (tmp_path / "broken" / RESULTS).is_file()


def test_other_settings_on_the_same_directory_are_refused(tmp_path: Path) -> None:
    run_iterate(config(tmp_path / "out", rounds=1), doer=Fake([0.2, 0.3]))
    with pytest.raises(ConfigError, match="begun with other settings"):
        run_iterate(config(tmp_path / "out", rounds=1, held_out=5), doer=Fake([0.2, 0.3]))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"build": {"sources": ["nano_grid"], "out": "x"}}, "out is set by each round"),
        ({"build": {"sources": ["nano_grid"], "shards": 0}}, "shards"),
        ({"build": {"sources": ["nano_grid"]}, "train": {"lr": -1}}, "lr"),
        ({"build": {"sources": ["nano_grid"]}, "evaluate": {"samples": 0}}, "samples"),
    ],
)
def test_what_a_later_round_would_refuse_is_refused_at_once(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_iterate_config(None, {"out": "x", **wrong})


def test_questions_are_held_out_of_ones_own_data(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=30, open_ended=3)
    assert hold_out_questions([str(source)], None, 6, None, tmp_path / "held") == 6
    held = open_source(str(tmp_path / "held" / "held_out.yaml"))
    index = held.index(None)
    questions = [item for item in held.read(index, 0, index.rows) if isinstance(item, mmpr.Question)]
    assert [q.source_id for q in questions] == [f"made/q{i}" for i in (0, 5, 11, 16, 22, 27)]
    assert open_source(str(tmp_path / "held" / "held_out.yaml"), "/elsewhere").index(None).rows == 6
    own = open_source(str(source))
    whole = own.index(None)
    first = next(iter(own.read(whole, 0, 1)))
    assert isinstance(first, mmpr.Question)
    assert (questions[0].text, questions[0].images, questions[0].answer) == (first.text, first.images, first.answer)


def test_it_is_a_function_of_the_library(tmp_path: Path) -> None:
    assert mmpr.iterate.__doc__
    with pytest.raises(ConfigError, match="sources"):
        mmpr.iterate(out=tmp_path, build={})
