"""Tokens and recomputation chosen together, by measuring a step."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.run import fitting, preparation
from mmpr_pipeline.training.run.device import check_resting
from mmpr_pipeline.training.run.fitting import DryStep, MemoryGrowth, fit_step
from mmpr_pipeline.training.run.loop import Trainer, train
from mmpr_pipeline.training.run.run_folder import TrainingView
from mmpr_pipeline.training.world import World
from tests.training import made

ALONE = World(0, 1, torch.device("cpu"))
MB = 1 << 20


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("fitting")
    return made.model_folder(root / "model"), made.dataset(root / "data")


@pytest.fixture(scope="module")
def trainer(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    config = made.settings(*folders, tmp_path_factory.mktemp("run"), batch=20, token_budget=None)
    return Trainer(config, ALONE, TrainingView(), False, threading.Event())


def fitted(
    trainer: Trainer, room: int, budget: int | None = None, recompute: Any = "auto", times: int = 40
) -> tuple[int, str]:
    """For a step of the data, `times` over: enough for the largest budget."""
    _, slices = next(trainer.order.steps(0, 1, trainer._sizes))
    found = fit_step(trainer.policy, trainer.stream, slices * times, ALONE, budget, recompute, "auto", room)
    assert found.needed <= room
    return found.token_budget, found.recompute


def grows(bytes_a_token: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step take that much, by what is kept."""

    def measured(policy: Any, stream: Any, slices: Any, world: Any, kinds: Any, budgets: Any) -> Any:
        return MemoryGrowth(0.0, bytes_a_token[kinds[0]])

    monkeypatch.setattr(fitting, "_measure", measured)


def test_less_room_keeps_less_then_halves(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    grows({"matmuls": 1000.0, "full": 400.0, "none": 1500.0}, monkeypatch)
    assert fitted(trainer, 16384 * 1000) == (16384, "matmuls")
    assert fitted(trainer, 16384 * 999) == (8192, "matmuls")
    assert fitted(trainer, 8191 * 1000) == (16384, "full")
    assert fitted(trainer, 16383 * 400) == (8192, "full")
    with pytest.raises(TrainingError, match="Lower the token budget"):
        fitted(trainer, 8191 * 400)


def test_what_is_given_is_kept(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    grows({"matmuls": 1000.0, "full": 400.0, "none": 1500.0}, monkeypatch)
    assert fitted(trainer, 16384 * 999, budget=16384) == (16384, "full")
    assert fitted(trainer, 16384 * 400, recompute="full") == (16384, "full")
    with pytest.raises(TrainingError, match=r"recompute: none"):
        fitted(trainer, 16384 * 999, budget=16384, recompute="none")


def test_a_few_pairs_are_not_taken_for_a_whole_budget(trainer: Trainer) -> None:
    """Their step is as small as they are: by the budget it would be far above what they can need."""
    assert fitted(trainer, psutil.virtual_memory().total // 2, times=1) == (16384, "matmuls")


def test_two_sizes_that_are_near_tell_no_slope() -> None:
    """A few kB of chance over five tokens made gigabytes of a whole budget."""
    near = MemoryGrowth.of(DryStep(100, 900 * MB, 950 * MB), DryStep(105, 900 * MB, 960 * MB))
    assert near.at(105) == 960 * MB
    assert near.at(1600) == pytest.approx(900 * MB + 60 * MB * 1600 / 105, rel=1e-3)
    equal = MemoryGrowth.of(DryStep(100, 900 * MB, 950 * MB), DryStep(100, 900 * MB, 950 * MB))
    assert equal.at(1600) == pytest.approx(900 * MB + 50 * MB * 16, rel=1e-3)
    apart = MemoryGrowth.of(DryStep(100, 900 * MB, 1000 * MB), DryStep(200, 900 * MB, 1050 * MB))
    assert apart.at(400) == 1150 * MB
    assert MemoryGrowth.of(DryStep(0, MB, MB), DryStep(0, MB, MB)).at(100) == MB


@pytest.mark.campaign
def test_the_measure_foretells_a_larger_micro_batch(tmp_path: Path) -> None:
    """A model that keeps about 170 kB a token: two small steps foretell one of three times as many tokens."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux forgets the most memory so far")
    made.model_folder(tmp_path / "model", layers=12, mlp=512)
    data = made.dataset(tmp_path / "data")
    config = made.settings(tmp_path / "model", data, tmp_path / "run", batch=20, token_budget=8192)
    made_of = Trainer(config, ALONE, TrainingView(), False, threading.Event())
    _, slices = next(made_of.order.steps(0, 1, made_of._sizes))
    slices = slices * 6
    growth = fitting._measure(made_of.policy, made_of.stream, slices, ALONE, ("none", "none"), (700, 1400))
    large = fitting._measure(made_of.policy, made_of.stream, slices, ALONE, ("none", "none"), (2800, 4000))
    assert growth.a_token > 100_000
    assert growth.at(4000) == pytest.approx(large.at(4000), rel=0.1)
    less = fitting._measure(made_of.policy, made_of.stream, slices, ALONE, ("full", "full"), (700, 1400))
    assert less.a_token < growth.a_token / 2


def test_a_resumed_run_computes_as_it_began(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made.settings(*folders, tmp_path, token_budget=None)
    train(config.model_copy(update={"max_steps": 1}))
    computed = json.loads((tmp_path / "run.json").read_text())["computed"]
    assert (computed["token_budget"], computed["recompute"]) == (16384, "matmuls")
    assert (computed["recompute_vision"], computed["layers"]) == ("matmuls", "eager")
    asked: list[tuple[Any, ...]] = []
    right = fitting.fit_step

    def spied(*args: Any) -> Any:
        asked.append(args[4:7])
        return right(*args)

    monkeypatch.setattr(preparation, "fit_step", spied)
    train(config, resume=True)
    assert asked == [(16384, "matmuls", "matmuls")]


def test_a_large_tower_keeps_less_before_the_language_model_does(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {("matmuls", "matmuls"): 1000.0, ("matmuls", "full"): 600.0, ("full", "full"): 400.0}
    monkeypatch.setattr(fitting, "_measure", lambda *args: MemoryGrowth(0.0, sizes[args[4]]))
    _, slices = next(trainer.order.steps(0, 1, trainer._sizes))
    fit = fit_step(trainer.policy, trainer.stream, slices * 40, ALONE, None, "auto", "auto", 16384 * 600 // 2)
    assert (fit.token_budget, fit.recompute, fit.recompute_vision) == (8192, "matmuls", "full")
    assert fitting.kinds_of("auto", "full") == [("matmuls", "full"), ("full", "full")]
    assert fitting.kinds_of("none", "auto") == [("none", "none")]


def test_what_cannot_even_rest_on_a_device_is_refused_before_it_is_loaded(trainer: Trainer) -> None:
    everything = sum(p.numel() for p in trainer.policy.parameters())
    buffers = sum(b.numel() * b.element_size() for b in trainer.policy.buffers())
    assert check_resting(trainer.policy, 1, False, math.inf) == 16 * everything + buffers
    assert check_resting(trainer.policy, 8, True, math.inf) == 20 * everything // 8 + buffers
    with pytest.raises(TrainingError, match="Adam's moments take"):
        check_resting(trainer.policy, 1, False, 16 * everything - 1)
