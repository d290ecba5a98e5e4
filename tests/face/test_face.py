"""The Python face: every name is there, nothing heavy comes with the import, and a question becomes pairs in memory."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

import mmpr_pipeline as mmpr
from mmpr_pipeline.core.errors import ConfigError

SCRIPT = {"name": "scripted", "script": {"extremes": 0.3}}


def asked(number: int = 6) -> list[mmpr.Question]:
    picture = PIL.Image.new("RGB", (16, 12), (200, 30, 90))
    return [mmpr.question(f"How many dots are in picture {i}?", picture, answer=i) for i in range(number)]


def test_every_name_is_there_and_described() -> None:
    assert set(mmpr.__all__) <= set(dir(mmpr))
    for name in mmpr.__all__:
        found = getattr(mmpr, name)
        assert name == "__version__" or inspect.getdoc(found), name
    with pytest.raises(AttributeError, match="no attribute 'pears'"):
        mmpr.pears  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, mmpr_pipeline; dir(mmpr_pipeline); print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert loaded.isdisjoint({"torch", "ray", "vllm", "transformers", "datasets", "sympy", "pyarrow", "PIL", "numpy"})


def test_questions_from_plain_values(tmp_path: Path) -> None:
    PIL.Image.new("L", (8, 8)).save(tmp_path / "a.png")
    number = mmpr.question("How many?", tmp_path / "a.png", answer=3)
    assert (number.kind, number.answer, len(number.images)) == ("number", "3", 1)
    choice = mmpr.question("Which?", (tmp_path / "a.png").read_bytes(), answer="cat", choices=["dog", "cat"])
    assert (choice.kind, choice.answer) == ("choice", "B")
    assert mmpr.question("Describe it.", tmp_path / "a.png").kind == "none"
    assert mmpr.question("What is the area?", answer=r"2\pi").kind == "math"
    with pytest.raises(ConfigError, match="none of the choices"):
        mmpr.question("Which?", answer="cow", choices=["dog", "cat"])
    with pytest.raises(ConfigError, match="Cannot read the image"):
        mmpr.question("How many?", tmp_path / "gone.png", answer=3)


@pytest.mark.slow
def test_pairs_in_memory_are_those_that_a_build_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    outcomes = list(mmpr.pairs(asked(), engine=SCRIPT, sampling={"samples": 8}))
    assert [outcome.row.text for outcome in outcomes] == [question.text for question in asked()]
    made = [pair for outcome in outcomes for pair in outcome.pairs]
    assert {pair.strategy for pair in made} == {"correctness", "dropout_ntp"}
    source = mmpr.Source.from_iterable("python", asked())
    out = tmp_path / "out"
    summary = mmpr.build(source, out=out, engine=SCRIPT, shards=2, sampling={"samples": 8}, workers=1)
    assert sum(summary["counts"]["pairs"].values()) == len(made)
    stored = mmpr.load(out)
    assert sorted(stored["pair_id"]) == sorted(pair.pair_id for pair in made)
    fewer = mmpr.rebuild(out, out=tmp_path / "fewer", pairing={"max_pairs": 1})
    assert 0 < fewer["counts"]["pairs"]["correctness"] < summary["counts"]["pairs"]["correctness"]
    shown = mmpr.show(out, 2)
    assert "data:image/png;base64," in shown._repr_html_()
    assert "rejected" in repr(shown)


async def test_pairs_work_inside_a_running_loop_and_may_be_left_early() -> None:
    found = mmpr.pairs(({"text": f"How many in {i}?", "answer": i} for i in range(1_000)), engine=SCRIPT, in_flight=4)
    first = await asyncio.to_thread(next, found)
    assert first.row.text == "How many in 0?"
    await asyncio.to_thread(found.close)  # type: ignore[attr-defined]


def test_an_engine_of_ones_own_and_unknown_names() -> None:
    class Parrot:
        can_continue = False
        info: Any = None

        async def sample(self, request: Any) -> list[mmpr.Rollout]:
            texts = [f"Final answer: {i}" for i in range(request.n)]
            common = {"question_id": request.question.question_id, "round": request.round, "tokens": 3}
            common |= {"finish_reason": "stop", "model": "parrot", "prompt_version": request.prompt_version}
            return [mmpr.Rollout(index=request.first_index + i, seed=i, text=t, **common) for i, t in enumerate(texts)]

    from mmpr_pipeline.engines.engine import EngineInfo

    parrot = Parrot()
    parrot.info = EngineInfo(engine="parrot", model="parrot", context=None, can_continue=False)
    [outcome] = mmpr.pairs([{"text": "1 + 1?", "answer": 2}], engine=parrot)  # type: ignore[arg-type]
    assert {(pair.chosen, pair.model) for pair in outcome.pairs} == {("Final answer: 2", "parrot")}
    with pytest.raises(ConfigError, match=r"no pairing strategy 'corectness'(.|\n)*correctness"):
        mmpr.pairs([], engine=SCRIPT, strategies=["corectness"])


def test_checks() -> None:
    assert mmpr.check("So it is 0.5.", "1/2").outcome == "correct"
    assert mmpr.check("So it is 0.6.", "1/2").outcome == "incorrect"


@pytest.mark.slow
def test_training_on_rows_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    picture = PIL.Image.new("RGB", (112, 112), (10, 200, 90))
    rows = [
        {"prompt": f"What is in row {i}?", "images": [picture], "chosen": "red", "rejected": f"blue {i}"}
        for i in range(4)
    ]
    result = mmpr.train(
        datasets.Dataset.from_list(rows).cast_column("images", datasets.Sequence(datasets.Image())),
        model="nano", run_dir=tmp_path / "run", batch=2, max_steps=2,
    )  # fmt: skip
    assert result.step == 2
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert "loss" in json.loads(lines[-1])
