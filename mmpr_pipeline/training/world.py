"""The processes of a run: who this one is, and the few things that all of them must agree on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, TrainingError

STOP = "stop"
"""A file in the run's directory; removed when it was obeyed, and when a run starts."""
LOOK_EVERY = 1.0  # seconds
ECHO = 3.0
"""Seconds in which a second Ctrl-C is the echo of the first: a launcher passes on what the terminal sent already."""


class Stopped(Exception):
    """The run was asked to stop; what it was doing is given up."""


@contextmanager
def stop_requested(run: Path | None = None) -> Iterator[threading.Event]:
    """An event that is set when the run is asked to stop; with `run`, by the file in that directory as well.

    SIGTERM may come as often as it likes; a second Ctrl-C after some seconds ends the process at once.
    """
    event = threading.Event()
    asked = 0.0

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if event.is_set() and number == signal.SIGINT and time.monotonic() - asked > ECHO:
            raise KeyboardInterrupt
        if not event.is_set():
            asked = time.monotonic()
        event.set()

    before = {}
    if threading.current_thread() is threading.main_thread():  # launchers may run us in another one
        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    ended = threading.Event()

    def watch(run: Path) -> None:
        """By a listing: NFS remembers for a while that a name was absent."""
        while not ended.wait(LOOK_EVERY):
            if run.is_dir() and STOP in os.listdir(run):
                return event.set()

    if run:
        threading.Thread(target=watch, args=(run,), name="stop", daemon=True).start()
    try:
        yield event
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def ask_to_stop(run: Path) -> None:
    """Leave the file."""
    (run / STOP).touch()


T = TypeVar("T")
_SIGNS_OF_LOSS = (
    "Timed out waiting", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL",
)  # fmt: skip
ALONE = timedelta(minutes=60)
"""How long ranks wait for what one of them does alone: digests of weights, files written once, an export."""


@dataclass(frozen=True)
class World:
    """This process among all. Every method but the properties is to be called by every rank.

    `patient` is a group of all ranks whose members may wait `ALONE` for each other; in `group`, torch's own for None,
    none waits longer than the launch's `patience`.
    """

    rank: int
    size: int
    device: torch.device
    patient: Any = None
    group: Any = None
    local_size: int = 1  # processes on this machine, which share its memory

    @property
    def is_main(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks of a float64 tensor, which need not stay as it is."""
        if self.size == 1:
            return values
        values = values.to("cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(values)
        return values.cpu()

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any rank raises it."""
        if self.size == 1:
            return list(flags)
        return [count > 0 for count in self.sum(torch.tensor(flags, dtype=torch.float64)).tolist()]

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's (small, picklable) value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def on_main(self, work: Callable[[], T]) -> T:
        """Let the first rank work while the others wait; what comes of it, or what it raises, on every rank."""
        outcome: list[Any] = [(None, None)]
        if self.is_main:
            try:
                outcome = [(None, work())]
            except Exception as error:  # the others must hear of it
                outcome = [(error, None)]
        if self.size > 1:
            dist.broadcast_object_list(outcome, 0, group=self.patient, device=torch.device("cpu"))
        problem, made = outcome[0]
        if problem:
            raise problem
        return cast(T, made)


@contextmanager
def connect(device: str = "auto", patience: float = 10.0) -> Iterator[World]:
    """Join the other processes, where a launcher (torchrun, Ray Train) says that there are any.

    A single GPU, and a single process that torchrun started, get a process group too: sharding, and with it mixed
    precision, is then the same code. `patience`: minutes that a rank waits for the others' part in a step. Raises
    ConfigError where the device is not there, TrainingError where another rank is lost.
    """
    # Every micro-batch has another length: without it freed blocks fit no later one. Read at the first use of the GPU.
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    place = _device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    ours = False
    if not dist.is_initialized() and (place.type == "cuda" or "WORLD_SIZE" in os.environ):
        alone = "WORLD_SIZE" not in os.environ
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo",
            timeout=timedelta(minutes=patience),
            **({"store": dist.HashStore(), "rank": 0, "world_size": 1} if alone else {}),
        )
        ours = True
    try:
        world = World(0, 1, place)
        if dist.is_initialized():
            patient = dist.new_group(backend="gloo", timeout=ALONE)
            size = dist.get_world_size()
            local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
            world = World(dist.get_rank(), size, place, patient, local_size=local)
            kinds = world.all_gather(world.device.type)
            if len(set(kinds)) > 1:
                raise ConfigError(
                    f"{kinds.count('cuda')} of {world.size} processes have a GPU.",
                    remedy="Give each a GPU, or say launch.device: cpu for all.",
                )
        yield world
    except RuntimeError as error:
        # The line of an error by which a collective says that a rank is gone.
        lost = [line.strip()[:200] for line in str(error).splitlines() if any(sign in line for sign in _SIGNS_OF_LOSS)]
        if ours and lost:
            raise TrainingError(
                f"Another rank is gone, or did not answer within {patience:g} minutes: {lost[0]}",
                remedy="See what its process or node said last; --resume goes on from the newest checkpoint. Where"
                " steps are that slow, raise launch.patience.",
            ) from error
        raise
    finally:
        if ours:
            dist.destroy_process_group()
            # Wait until gloo's threads rest, where Linux shows their states; elsewhere not at all.
            end, rests = time.monotonic() + 10.0, 0
            while rests < 2 and time.monotonic() < end:  # twice: the first time it may have waited for the GIL
                time.sleep(0.005)
                busy = False
                for task in Path("/proc/self/task").glob("*/stat"):
                    with suppress(OSError):  # the thread has just ended
                        name, _, rest = task.read_text().rpartition(")")
                        busy = busy or ("gloo" in name and rest.split()[0] not in "SZ")
                rests = 0 if busy else rests + 1


def _device(wanted: str) -> torch.device:
    """The device of this process. Raises ConfigError where it is not there: a GPU that was meant is never left out."""
    usable = torch.cuda.is_available()
    # GPUs that the machine shows to this process, although torch may see none.
    shown = Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    if wanted == "cpu" or (wanted == "auto" and not usable and not shown):
        return torch.device("cpu")
    if not usable:
        raise ConfigError(
            f"torch {torch.__version__} finds no usable GPU.",
            remedy="Install a CUDA build of torch for this driver (see nvidia-smi), or say launch.device: cpu.",
        )
    index, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if index >= there:
        raise ConfigError(
            f"This machine has {there} GPUs for {os.environ.get('LOCAL_WORLD_SIZE', index + 1)} processes.",
            remedy=f"Start one process for each GPU: --nproc-per-node {there}.",
        )
    return torch.device("cuda", index)
