from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines import start
from mmpr_pipeline.engines.engine import SampleRequest
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.evaluation.run import results_tables, run_eval
from mmpr_pipeline.evaluation.settings import EvalConfig, load_eval_config
from tests.pipeline.engines import TextEngine

DECLARATION = """
name: sums
description: Sums.
licence: test
role: evaluation
files: [sums.jsonl]
kind: number
text_only: true
columns: {id: id, question: question, answer: answer}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [{"id": f"s{i}", "question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(40)]
    rows.append({"id": "empty", "question": "", "answer": "1"})
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(DECLARATION)
    return tmp_path / "sums.yaml"


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model `good` errs on every 10th question, model `bad` on every second one; both by saying 999."""

    def texts(every: int) -> TextEngine:
        def text(source_id: str, index: int) -> str:
            number = int(source_id[1:])
            return f"So it is.\nFinal answer: {999 if number % every == 0 else number + 1}"

        return TextEngine(text)

    made = {"./good": texts(10), "./bad": texts(2)}  # directories, so that nobody asks the Hub for them
    monkeypatch.setattr(start, "make_engine", lambda settings: made[settings.model])
    monkeypatch.setattr(start.LocalEngine, "info", property(lambda self: self.open().info))


def config(source: Path, **more: object) -> EvalConfig:
    fields = {"sources": [str(source)], "engine": {"model": "./bad", "actors": 0}, "resamples": 500, **more}
    return EvalConfig.model_validate(fields)


def test_engines_plan_for_the_tiles_that_a_source_asks_for(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles: list[int] = []

    def made(settings: EngineSettings) -> TextEngine:
        tiles.append(settings.most_tiles)
        return TextEngine(lambda source_id, _: "Final answer: 1")

    monkeypatch.setattr(start, "make_engine", made)
    monkeypatch.setattr(start.LocalEngine, "info", property(lambda self: self.open().info))
    run_eval(config(source))
    source.write_text(f"{DECLARATION}tiles: 18\n")
    run_eval(config(source))
    assert set(tiles[:1]) == {12}
    assert tiles[-1] == 18


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({}, "cot-final-en"),
        ({"style": "cot-think"}, "cot-think-en"),
        ({"style": "cot-think", "mode": "direct"}, "direct-en"),
        ({"prompt_language": "zh"}, "cot-final-zh"),
    ],
)
def test_a_model_is_asked_as_it_learned_to_be_asked(
    source: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, str], label: str
) -> None:
    """Thinking that does not end is no answer then, as in a build."""
    asked: list[SampleRequest] = []

    class Hearing(TextEngine):
        async def sample(self, request: SampleRequest) -> list[Rollout]:
            asked.append(request)
            return await super().sample(request)

    monkeypatch.setattr(start, "make_engine", lambda settings: Hearing(lambda source_id, _: "Final answer: 1"))
    monkeypatch.setattr(start.LocalEngine, "info", property(lambda self: self.open().info))
    model = run_eval(config(source, **more))["models"][0]
    assert {request.prompt_version.partition("@")[0] for request in asked} == {label}
    assert (model["outcomes"].get("unparseable", 0) == 40) == label.startswith("cot-think")


@pytest.mark.usefixtures("engines")
def test_accuracy_and_comparison_are_those_of_the_answers(source: Path, tmp_path: Path) -> None:
    results = run_eval(config(source, against="./good", out=str(tmp_path / "out")))
    first, second = (model["accuracy"]["sums"] for model in results["models"])
    assert (first["questions"], first["mean"], second["mean"]) == (40, 0.5, 0.9)
    assert first["low"] < 0.5 < first["high"]
    found = results["comparison"]["all"]  # the model is `bad`: it is told minus the other one
    assert (found["better"], found["worse"]) == (0, 16)
    assert found["difference"]["mean"] == pytest.approx(-0.4)
    assert found["difference"]["high"] < -0.2
    assert results["unreadable"] == {"sums: empty_question": 1}
    assert json.loads((tmp_path / "out" / "results.json").read_text())["comparison"] == results["comparison"]
    responses = [json.loads(line) for line in (tmp_path / "out" / "responses-1.jsonl").read_text().splitlines()]
    assert [r["score"] for r in responses[:11]] == [0.0] + [1.0] * 9 + [0.0]
    screen = io.StringIO()
    Console(file=screen, width=140).print(results_tables(results))
    assert "90.0" in screen.getvalue()
    said = " ".join(screen.getvalue().split())
    assert "sums: text − text: -40.0" in said
    assert "worse; higher on 0 questions, lower on 16" in said


@pytest.mark.usefixtures("engines")
def test_limit_and_skip_take_other_questions(source: Path) -> None:
    one = run_eval(config(source, limit=4))["models"][0]["accuracy"]["all"]
    other = run_eval(config(source, limit=3, skip=1))["models"][0]["accuracy"]["all"]
    assert (one["questions"], one["mean"]) == (4, 0.5)
    assert (other["questions"], other["mean"]) == (3, pytest.approx(2 / 3))


def test_sources_without_answers_are_refused() -> None:
    with pytest.raises(ConfigError, match="has an answer"):
        run_eval(config(Path("nano_describe"), sources=["nano_describe"], limit=2))


def test_settings_come_from_flags() -> None:
    loaded = load_eval_config(None, {"sources": ["a"], "mode": "direct", "engine.model": "m", "limit": None})
    assert (loaded.mode, loaded.engine.model, loaded.engine.actors) == ("direct", "m", 0)
    with pytest.raises(ConfigError, match="mode"):
        load_eval_config(None, {"sources": ["a"], "mode": "guess"})
