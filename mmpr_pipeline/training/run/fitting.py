"""What a step takes of a device, measured before the first one: how many tokens at a time, and what layers keep.

Pairs of the data are scored and differentiated in two sizes. Memory grows evenly with tokens (attention keeps no
square), so the two tell what a micro-batch of any size takes, without ever coming near the device's end.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.stream import MicroBatch, Stream, idle_batch
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.policy.recompute import Checkpointing, Recompute, set_checkpointing
from mmpr_pipeline.training.settings import MOST_TOKENS

SHARES = {"cuda": 0.9, "cpu": 0.5}
"""Of a device's memory that a step may take: the rest is for fragments; main memory is shared with others."""
_GIB = 1 << 30


class StepFit(NamedTuple):
    """Tokens of a micro-batch, what layers of the language model and of the vision tower keep of it, and the bytes that
    a step then takes of each rank's device."""

    token_budget: int
    recompute: Checkpointing
    recompute_vision: Checkpointing
    needed: int


class DryStep(NamedTuple):
    """One forward and backward: its tokens, the bytes held before it, and the most held during it."""

    tokens: int
    rest: int
    peak: int


class MemoryGrowth(NamedTuple):
    """Bytes that a step takes, by its tokens."""

    start: float
    a_token: float

    @classmethod
    def of(cls, small: DryStep, large: DryStep) -> MemoryGrowth:
        """From two sizes. Where they are too near for a slope, all that the larger one added is laid to its tokens."""
        most = max(0, large.peak - large.rest) / max(1, large.tokens)
        apart = large.tokens - small.tokens
        a_token = min(most, max(0.0, (large.peak - small.peak) / apart)) if 8 * apart >= small.tokens > 0 else most
        return cls(large.peak - a_token * large.tokens, a_token)

    def at(self, tokens: float) -> int:
        return int(self.start + self.a_token * tokens)


def fit_step(
    policy: PrefixSharedPolicy,
    stream: Stream,
    slices: Sequence[Slice],
    world: World,
    token_budget: int | None,
    recompute: Recompute,
    recompute_vision: Recompute,
    room: int,
) -> StepFit:
    """The quickest way to compute steps within `room` bytes of each device; the policy is set to it. On every rank.

    What the settings name is kept. Else these are tried in order: `MOST_TOKENS` with the results of matrix products
    kept, then half of the tokens; both with only the layers' inputs of the vision tower kept, whose layers are the
    cheaper ones; both with only the inputs of all layers kept. Half of the tokens are tried only where the pairs of
    `slices`, a step's, fit in them well. Raises TrainingError where nothing fits.
    """
    most = token_budget or MOST_TOKENS
    outlines = stream.outlines(slices)
    longest = max(o.tokens(i, i + 1, stream.shares) for o in outlines for i in range(len(o.pairs)))
    whole = 1.2 * sum(o.tokens(0, len(o.pairs), stream.shares) for o in outlines) / world.size
    halves = token_budget is None and 1.5 * longest < most // 2
    small = min(most, max(most // 8, int(1.1 * longest)))
    needed = 0
    for kind, vision in kinds_of(recompute, recompute_vision):
        growth = _measure(policy, stream, slices, world, (kind, vision), (small, min(most, 2 * small)))
        for budget in (most, most // 2) if halves else (most,):
            needed = growth.at(min(budget, max(whole, longest)))
            if needed <= room:
                set_checkpointing(policy.bare, kind, vision)
                return StepFit(budget, kind, vision, needed)
    raise TrainingError(
        f"A step of {most:,} tokens needs about {needed / _GIB:.1f} GiB (recompute: {kind}, of the vision tower"
        f" {vision}), there are {room / _GIB:.1f} GiB for it.",
        remedy="Lower the token budget or the image budget, set recompute to full, freeze the vision tower, use LoRA,"
        " or train on more devices.",
    )


def kinds_of(recompute: Recompute, vision: Recompute) -> list[tuple[Checkpointing, Checkpointing]]:
    """What language model and vision tower may keep, the quickest first. A tower that is left open is as the language
    model, or keeps less."""
    text: list[Checkpointing] = ["matmuls", "full"] if recompute == "auto" else [recompute]
    if vision != "auto":
        return [(kind, vision) for kind in text]
    if recompute != "auto":
        return [(recompute, recompute)]
    return [("matmuls", "matmuls"), ("matmuls", "full"), ("full", "full")]


def _measure(
    policy: PrefixSharedPolicy,
    stream: Stream,
    slices: Sequence[Slice],
    world: World,
    kinds: tuple[Checkpointing, Checkpointing],
    budgets: tuple[int, int],
) -> MemoryGrowth:
    """By one forward and backward of micro-batches of about `budgets` tokens; the dearest rank counts."""
    set_checkpointing(policy.bare, *kinds)
    found: list[DryStep] = []
    for budget in budgets:
        with closing(replace(stream, budget=budget).steps([(0, list(slices))])) as events:  # type: ignore[type-var]
            first = next(events)
        batch = first.batch if isinstance(first, MicroBatch) else idle_batch()
        rest = _begin_peak(world.device)
        (policy(batch).responses.sum() * 0.0).backward()
        peak = _peak(world.device)
        policy.zero_grad(set_to_none=True)
        tokens = batch.tokens * (len(batch.lengths) if not stream.shares else 1)
        found.append(DryStep(tokens, rest, peak))
    trained: list[Any] = [p for p in policy.parameters() if p.requires_grad]
    moments = sum(8 * (p.to_local() if hasattr(p, "to_local") else p).numel() for p in trained)
    growths = [MemoryGrowth.of(small, large) for small, large in world.all_gather(found)]
    dearest = max(growths, key=lambda growth: growth.at(MOST_TOKENS))
    return dearest._replace(start=dearest.start + moments)


def resting_bytes(policy: PrefixSharedPolicy, ranks: int, reference: bool) -> int:
    """Weights, gradients and Adam's moments on each of `ranks` devices; without memory for any of them yet.

    Trained weights take 16 bytes, others those of their type; a second model takes its weights.
    """
    sizes = [p.numel() * (p.element_size() + (12 if p.requires_grad else 0)) for p in policy.parameters()]
    second = sum(p.numel() * p.element_size() for p in policy.parameters()) if reference else 0
    whole = sum(b.numel() * b.element_size() for b in policy.buffers())  # packed weights above all: on every rank
    return int((sum(sizes) + second) // ranks + whole)


def check_resting(policy: PrefixSharedPolicy, ranks: int, reference: bool, available: int) -> int:
    """`resting_bytes`. Raises TrainingError, before anything is loaded, where a device has less than that."""
    needed = resting_bytes(policy, ranks, reference)
    if needed > available:
        raise TrainingError(
            f"Weights, gradients and Adam's moments take {needed / _GIB:.1f} GiB, the device has"
            f" {available / _GIB:.1f} GiB.",
            remedy="Freeze parts of the model, use LoRA, or train on more devices.",
        )
    return needed


def device_memory(world: World) -> tuple[int, int]:
    """Bytes of a device, or of this process's share of the machine: that a step may take, and that are free now.

    The first by its size, as other processes come and go; what others hold of a GPU is theirs.
    """
    if world.device.type != "cuda":
        return int(SHARES["cpu"] * psutil.virtual_memory().total / world.local_size), main_memory(world)
    free, total = torch.cuda.mem_get_info(world.device)
    others = total - free - torch.cuda.memory_reserved(world.device)
    return int(SHARES["cuda"] * (total - others)), free


def main_memory(world: World) -> int:
    """Bytes that are free of this process's share of the machine's memory."""
    return int(psutil.virtual_memory().available // world.local_size)


def check_host_memory(model: Any, world: World) -> None:
    """Raise ConfigError where the ranks have not the memory to load a model whole, in float32."""
    needed, free = 4 * sum(p.numel() for p in model.parameters()), main_memory(world)
    if needed > free:
        raise ConfigError(
            f"Each of the {world.local_size} processes of this machine needs {needed / _GIB:.0f} GiB to load the model,"
            f" {free / _GIB:.0f} GiB are free.",
            remedy="Train with fewer processes to a machine, or on one with more memory.",
        )


def _begin_peak(device: torch.device) -> int:
    """Forget the most memory so far; gives what is held now. On Linux a process may do so of its resident memory, once
    malloc has given back what it kept of freed blocks."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    with suppress(OSError, AttributeError):  # then the most so far counts
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return _peak(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def memory_gib(device: torch.device) -> float:
    """Most memory used on a GPU since the last call; on the CPU, what the process holds now."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return float(used / 2**30)
    return float(psutil.Process().memory_info().rss / 2**30)
