from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.checkpoints import CheckpointPlace
from mmpr_pipeline.training.run import launch
from mmpr_pipeline.training.run.launch import run_training
from tests.training import made

RAY = {"on": "ray", "workers": 2, "device": "cpu"}


def test_a_run_is_not_begun_again_on_ray_without_resume(tmp_path: Path) -> None:
    CheckpointPlace(tmp_path).store.write("step-00000001/state.json", b"{}")
    with pytest.raises(ConfigError, match="--resume"):
        run_training(made.settings(tmp_path, tmp_path, tmp_path, launch=RAY))


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


@pytest.mark.parametrize(
    ("wanted", "address", "gpus", "found"),
    [
        ("auto", "local", 0, "cpu"),
        ("auto", "local", 2, "cuda"),
        ("auto", "auto", 4, "cuda"),
        ("cpu", "auto", 4, "cpu"),
        ("auto", "local", 1, None),
        ("auto", "auto", 0, None),  # its GPU nodes may not have joined yet
        ("cuda", "local", 0, None),
    ],
)
def test_too_few_gpus_are_an_error_and_never_a_run_on_cpus(
    tmp_path: Path, wanted: str, address: str, gpus: int, found: str | None
) -> None:
    config = made.settings(tmp_path, tmp_path, tmp_path, launch={**RAY, "device": wanted, "address": address})
    if found:
        assert launch.device_on_ray(config, gpus) == found
    else:
        with pytest.raises(ConfigError, match=rf"{gpus} GPUs for 2 training processes[\s\S]*device: cpu"):
            launch.device_on_ray(config, gpus)


def test_paths_are_made_absolute_for_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    found = launch.absolute_training_paths(made.settings(Path("m"), Path("d"), Path("r"), export="e"))
    assert (found.model, found.data, found.run_dir, found.export) == tuple(str(tmp_path / n) for n in "mdre")
    kept = launch.absolute_training_paths(
        made.settings(Path("org/name"), Path("d"), Path("r")).model_copy(update={"data": "s3://b/d"})
    )
    assert (kept.model, kept.data) == ("org/name", "s3://b/d")
