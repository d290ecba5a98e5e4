"""The processes of a run: who this one is, and the few things that all of them must agree on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError

PATIENCE = timedelta(minutes=60)  # a rank may wait while another writes a checkpoint or scores its shards


@dataclass(frozen=True)
class World:
    """This process among all. Every method but the properties is to be called by every rank."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks of a float64 tensor."""
        return sum_over_ranks(values).cpu() if self.size > 1 else values

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return bool(self.sum(torch.tensor([float(flag)], dtype=torch.float64)).item()) if self.size > 1 else flag

    def gather(self, value: Any) -> list[Any]:
        """Every rank's (small, picklable) value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """The first rank's value."""
        return self.gather(value if self.first else None)[0]

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def connect(device: str = "auto") -> Iterator[World]:
    """Join the other processes, where a launcher (torchrun, Ray Train) says that there are any.

    A single GPU gets a process group of its own too: sharding, and with it mixed precision, is then the same code.
    Raises ConfigError where the device is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("There is no GPU that torch can use.", remedy="Train on the CPU: launch.device cpu.")
    use_cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if use_cuda else torch.device("cpu")
    if use_cuda:
        torch.cuda.set_device(place)
    ours = False
    if not dist.is_initialized() and (use_cuda or int(os.environ.get("WORLD_SIZE", 1)) > 1):
        alone = "WORLD_SIZE" not in os.environ
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if use_cuda else "gloo",
            timeout=PATIENCE,
            **({"store": dist.HashStore(), "rank": 0, "world_size": 1} if alone else {}),
        )
        ours = True
    try:
        joined = dist.is_initialized()
        yield World(dist.get_rank() if joined else 0, dist.get_world_size() if joined else 1, place)
    finally:
        if ours:
            dist.destroy_process_group()
            _wait_for_gloo()


def _wait_for_gloo(seconds: float = 10.0) -> None:
    """Wait until gloo's threads rest, as Linux tells; elsewhere for nothing.

    They outlive their group where anything still holds it (meshes do), and one that lets go of a collective's tensor
    while Python ends takes the whole process with it: "terminate called without an active exception"
    (https://github.com/pytorch/pytorch/issues/190489). On a loaded machine a run that was done failed so.
    """
    end, rests = time.monotonic() + seconds, 0
    while rests < 2 and time.monotonic() < end:  # twice: the first time it may have waited for the GIL
        time.sleep(0.005)
        rests = rests + 1 if all(state in "SZ" for state in _gloo_threads()) else 0


def _gloo_threads() -> list[str]:
    """States of gloo's threads: R runs or would, S sleeps."""
    told = [_told_of(task) for task in Path("/proc/self/task").glob("*/stat")]
    return [text.rpartition(")")[2].split()[0] for text in told if "gloo" in text.rpartition(")")[0]]


def _told_of(task: Path) -> str:
    """What `stat` says of a thread; nothing where it has just ended."""
    try:
        return task.read_text()
    except OSError:
        return ""


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum of a tensor over all ranks, where torch.distributed runs; else the tensor itself."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        values = values.to(device)
        torch.distributed.all_reduce(values)
    return values
