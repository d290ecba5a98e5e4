from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.errors import ConfigError, TrainingError
from mmpr_pipeline.training.launch import run_training
from mmpr_pipeline.training.loop import train
from mmpr_pipeline.training.metrics import read_lines
from tests.training import made


@pytest.mark.slow
def test_ray_train_runs_the_same_train_function(tmp_path: Path) -> None:
    """Two workers of Ray Train give the losses of one process; an error made in a worker comes out as it was made."""
    model, data = made.model_folder(tmp_path / "model"), made.dataset(tmp_path / "data")
    train(made.settings(model, data, tmp_path / "alone"))
    ray = {"on": "ray", "workers": 2, "device": "cpu"}
    result = run_training(made.settings(model, data, tmp_path / "ray", launch=ray))
    assert (result.step, result.interrupted) == (4, False)
    ours, theirs = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("ray", "alone"))
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], abs=1e-5)
    with pytest.raises(ConfigError, match="--resume"):
        run_training(made.settings(model, data, tmp_path / "ray", launch=ray))
    with pytest.raises(TrainingError, match=r"No pair of the first step"):
        run_training(made.settings(model, data, tmp_path / "small", launch=ray, token_budget=16, loss="sft"))
