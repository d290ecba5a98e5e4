"""Benchmarks at checkpoints, by the real `mmpr eval` with the scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.run import loop
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.measuring import Measured
from mmpr_pipeline.training.run.run_folder import read_lines
from mmpr_pipeline.training.settings import load_train_config
from tests.training import made

SCRIPTED = {"names": ["nano_grid"], "options": ["--engine", "scripted", "--limit", "4"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.slow
def test_mmpr_eval_measures_the_start_and_the_checkpoints(model: Path, data: Path, tmp_path: Path) -> None:
    benchmarks = {**SCRIPTED, "every": 2}
    config = made.settings(model, data, tmp_path, benchmarks=benchmarks, checkpoint_every=2, best_by="nano_grid")
    assert train(config).step == 4
    lines = read_lines(tmp_path / "held_out.jsonl")
    assert [line["step"] for line in lines] == [0, 4]
    assert all(0 <= line["benchmarks"]["nano_grid"]["value"] <= 100 for line in lines)
    assert json.loads((tmp_path / "best.json").read_text())["by"] == "nano_grid"
    assert (tmp_path / "benchmarks" / "step-00000004" / "results.json").is_file()
    assert not (tmp_path / "benchmarks" / "model").exists()


def test_the_best_checkpoint_is_that_of_the_named_benchmark(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one whose measure falls where it is better too; a failure after the start is passed over."""
    values = iter([50.0, 40.0, 20.0, None, 30.0])
    measured: list[str] = []

    def measure(folder: Path, out: Path, settings: Any) -> dict[str, Measured]:
        assert (folder / "config.json").is_file()
        measured.append(folder.name)
        value = next(values)
        if value is None:
            raise TrainingError("no memory")
        return {"hallucinations": {"value": value, "less_is_better": True}}

    monkeypatch.setattr(loop, "measure_benchmarks", measure)
    config = made.settings(model, data, tmp_path, benchmarks=SCRIPTED, best_by="hallucinations", keep=1)
    train(config)
    assert measured[0] == model.name
    assert set(measured[1:]) == {"model"}
    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 2, "by": "hallucinations", "value": 20.0}
    assert CheckpointPlace(tmp_path).steps() == [2, 4]


def test_a_benchmark_that_cannot_be_measured_stops_the_run_at_once(model: Path, data: Path, tmp_path: Path) -> None:
    benchmarks = {"names": ["nonesuch"], "options": ["--engine", "scripted"]}
    with pytest.raises(TrainingError, match=r"mmpr eval on nonesuch failed[\s\S]*Run it alone: mmpr eval"):
        train(made.settings(model, data, tmp_path / "run", benchmarks=benchmarks))
    with pytest.raises(ConfigError, match="best_by"):
        load_train_config(None, {"data": str(data), "run_dir": str(tmp_path), "best_by": "mmstar"})
