from __future__ import annotations

import pytest
import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training import world


def gpus(monkeypatch: pytest.MonkeyPatch, usable: int, shown: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: usable)
    monkeypatch.setattr(world.Path, "exists", lambda path: shown)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_that_torch_cannot_use_are_an_error_and_not_a_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, usable=0, shown=True)
    with pytest.raises(ConfigError, match=r"no usable GPU[\s\S]*device: cpu"):
        world._device("auto")
    assert world._device("cpu").type == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert world._device("auto").type == "cpu"


def test_more_processes_than_gpus_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, usable=2, shown=True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert world._device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match=r"2 GPUs for 4 processes[\s\S]*--nproc-per-node 2"):
        world._device("auto")


def test_no_gpu_at_all_means_the_cpu_unless_one_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, usable=0, shown=False)
    assert world._device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="no usable GPU"):
        world._device("cuda")


def test_what_the_first_rank_does_alone_and_what_stops_it_reaches_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the others would wait an hour for one that has ended."""
    sent: list[tuple[Exception | None, object]] = []

    def exchange(values: list[tuple[Exception | None, object]], source: int, **options: object) -> None:
        if values != [(None, None)]:  # of the first rank
            sent.extend(values)
        values[:] = sent[-1:]

    monkeypatch.setattr(world.dist, "broadcast_object_list", exchange)
    first, second = (world.World(rank, 2, torch.device("cpu")) for rank in (0, 1))

    def never() -> int:
        raise AssertionError("only the first rank works")

    assert first.on_main(lambda: 3) == second.on_main(never) == 3

    def failing() -> int:
        raise ConfigError("no room")

    for rank, work in ((first, failing), (second, never)):
        with pytest.raises(ConfigError, match="no room"):
            rank.on_main(work)
