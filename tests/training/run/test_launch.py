from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.run import launch
from mmpr_pipeline.training.run.launch import run_training
from mmpr_pipeline.training.run.loop import train
from mmpr_pipeline.training.run.metrics import read_lines
from tests.training import made

RAY = {"on": "ray", "workers": 2, "device": "cpu"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ray_train_runs_the_same_train_function(tmp_path: Path) -> None:
    """Two workers of Ray Train give the losses of one process."""
    model, data = made.model_folder(tmp_path / "model"), made.dataset(tmp_path / "data")
    train(made.settings(model, data, tmp_path / "alone", batch=10, checkpoint_every=100))
    result = run_training(made.settings(model, data, tmp_path / "ray", batch=10, checkpoint_every=100, launch=RAY))
    assert (result.step, result.interrupted) == (2, False)
    ours, theirs = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("ray", "alone"))
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], abs=1e-5)
    with pytest.raises(ConfigError, match="--resume"):
        run_training(made.settings(model, data, tmp_path / "ray", launch=RAY))


def test_an_error_in_a_worker_comes_out_as_it_was_made_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = made.model_folder(tmp_path / "model"), made.dataset(tmp_path / "data")
    settings = made.settings(model, data, tmp_path / "run", token_budget=16, loss="sft").model_dump(mode="json")
    with pytest.raises(RuntimeError, match="No pair of the first step"):
        launch._work({"config": settings, "resume": False})
    recorded = launch._recorded(tmp_path / "run" / launch.ERROR)
    assert isinstance(recorded, TrainingError)
    assert recorded.remedy
    monkeypatch.setattr("mmpr_pipeline.training.run.loop.train", None)
    with pytest.raises(RuntimeError, match="No pair of the first step"):
        launch._work({"config": settings, "resume": False})


def test_paths_are_made_absolute_for_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    found = launch.absolute(made.settings(Path("m"), Path("d"), Path("r"), export="e"))
    assert (found.model, found.data, found.run_dir, found.export) == tuple(str(tmp_path / n) for n in "mdre")
    kept = launch.absolute(
        made.settings(Path("org/name"), Path("d"), Path("r")).model_copy(update={"data": "s3://b/d"})
    )
    assert (kept.model, kept.data) == ("org/name", "s3://b/d")
