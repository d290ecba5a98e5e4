"""Checkpoints: sharded, resumable on another number of ranks, and never half-written.

RUN/checkpoints/step-00000200/ holds the trained weights and the optimizer's state in torch's distributed format, each
rank's random state, and `state.json` with the rest and the sha256 of every file. It is written under a hidden name,
synced, and renamed when all ranks are done: what has its name is complete. It is read only where all of it is what was
written. Only trained parameters are kept; frozen ones are the model's own.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmpr_pipeline.core.errors import ConfigError, MmprError, StoreError
from mmpr_pipeline.core.json_files import sealed, unsealed
from mmpr_pipeline.dataset.files.arrow_file import sha256_of
from mmpr_pipeline.training.distributed.world import World

UNFINISHED = ".unfinished-"
STATE = "state.json"
BEST = "best.json"  # in the run's directory: see `held_out`
_NAME = re.compile(r"step-(\d{8,})")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: finished optimizer steps (hence place in the data and in the schedule), and δ's sums."""

    step: int
    pairs: int
    shift_total: float
    shift_count: int


def save(
    run: Path, progress: RunProgress, model: nn.Module, optimizer: torch.optim.Optimizer, world: World, keep: int,
    reference: nn.Module | None = None,
) -> Path:  # fmt: skip
    """Write a checkpoint and remove all but the `keep` newest. On every rank.

    Raises StoreError where it cannot be written; then the earlier ones are as they were, and nothing of it stays.
    """
    folder = run / "checkpoints"
    target = folder / f"step-{progress.step:08d}"
    partial = folder / f"{UNFINISHED}{target.name}"
    from torch.distributed.checkpoint.api import CheckpointException  # not an Exception

    problem = None
    try:
        if world.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        world.barrier()
        _write(partial, model, optimizer, reference, world)
    except (Exception, CheckpointException) as error:  # torch wraps what a rank's disk said
        problem = (_reason(error), _remedy(error))
    problems = [p for p in world.all_gather(problem) if p]
    if problems:
        if world.is_main:
            shutil.rmtree(partial, ignore_errors=True)
        (what, remedy), *_ = problems
        raise StoreError(
            f"The checkpoint of step {progress.step} cannot be written to {folder}: {what}.", remedy=remedy
        )
    hashes = _hashes(partial, world)
    if world.is_main:
        _finish(partial, target, progress, hashes, keep)
    world.barrier()
    return target


def _write(
    partial: Path, model: nn.Module, optimizer: torch.optim.Optimizer, reference: nn.Module | None, world: World
) -> None:
    import torch.distributed.checkpoint as dcp

    torch.save(_random_state(), partial / f"random-{world.rank:05d}.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one process alone is not distributed
        dcp.save(_tensors(model, optimizer, reference), checkpoint_id=partial)


def _hashes(folder: Path, world: World) -> dict[str, str]:
    """sha256 of every file but STATE, on every rank; each rank reads its part of them."""
    files = sorted(path for path in folder.iterdir() if path.name != STATE)[world.rank :: world.size]
    parts = world.all_gather({path.name: _sha256(path) for path in files})
    return {name: sha256 for part in parts for name, sha256 in part.items()}


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:  # as good as damaged; a rank that stopped here would let the others wait
        return ""


def _finish(partial: Path, target: Path, progress: RunProgress, hashes: dict[str, str], keep: int) -> None:
    with open(partial / STATE, "wb") as file:
        file.write(sealed({**asdict(progress), "hashes": hashes}))
        file.flush()
        os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)  # of the same step, from before a resume
    os.rename(partial, target)
    _sync(target.parent)
    prune(target.parent.parent, keep)


def prune(run: Path, keep: int) -> None:
    """Remove all checkpoints but the `keep` newest and the best."""
    spared = best(run)
    for old in [path for path in checkpoints(run)[:-keep] if path != spared]:
        hidden = old.with_name(f"{UNFINISHED}old-{old.name}")
        os.rename(old, hidden)  # a checkpoint that is half removed must not have a checkpoint's name
        shutil.rmtree(hidden, ignore_errors=True)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, world: World, reference: nn.Module | None = None
) -> RunProgress:
    """Bring model, optimizer (and a moving reference) to a checkpoint's state, in place. Raises StoreError."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

    _fill_optimizer(optimizer)
    state = _tensors(model, optimizer, reference)
    try:
        progress = _checked(folder, world)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp.load(state, checkpoint_id=folder)
    except (Exception, CheckpointException) as error:
        raise StoreError(
            f"The checkpoint {folder} cannot be read: {_reason(error)}.",
            remedy="Remove it to go on from the one before, or start a new run.",
        ) from error
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=StateDictOptions(ignore_frozen_params=True, strict=False),
    )
    if reference is not None:
        from torch.distributed.checkpoint.state_dict import set_model_state_dict

        set_model_state_dict(reference, state["reference"])
    random_state = folder / f"random-{world.rank:05d}.pt"
    if random_state.is_file():
        _set_random_state(torch.load(random_state, weights_only=True))
    return progress


def _checked(folder: Path, world: World) -> RunProgress:
    """The state of a checkpoint all of whose files are what was written. On every rank; raises ValueError or OSError.

    Checkpoints of the first versions tell no hashes and are taken as they are.
    """
    names = frozenset(field.name for field in fields(RunProgress))
    state = unsealed((folder / STATE).read_bytes(), names, frozenset())
    stated = state.pop("hashes", None)
    found = _hashes(folder, world)
    if stated is not None and found != stated:
        wrong = sorted(name for name in {*found, *stated} if found.get(name) != stated.get(name))
        raise ValueError(f"{wrong[0]} is gone or damaged")
    return RunProgress(**state)


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer, reference: nn.Module | None) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_state_dict

    weights, moments = get_state_dict(model, optimizer, options=StateDictOptions(ignore_frozen_params=True))
    state: dict[str, Any] = {"model": weights, "optimizer": moments}
    if reference is not None:
        state["reference"] = get_model_state_dict(reference)
    return state


def _fill_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Make the optimizer's state exist, so that there is something to load into: a step with zero gradients."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folder = run / "checkpoints"
    found = [p for p in folder.iterdir() if _NAME.fullmatch(p.name)] if folder.is_dir() else []
    return sorted(found, key=step_of)


def step_of(folder: Path) -> int:
    """Finished steps of a checkpoint."""
    return int(folder.name.partition("-")[2])


def best(run: Path) -> Path | None:
    """The checkpoint that is the best by the run's held-out pairs; None where there is none."""
    try:
        step = json.loads((run / BEST).read_text("utf-8"))["step"]
    except (OSError, ValueError, KeyError):
        return None
    found = run / "checkpoints" / f"step-{step:08d}"
    return found if found.is_dir() else None


def sweep(run: Path) -> None:
    """Remove what killed runs left unfinished."""
    for path in (run / "checkpoints").glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def check_room(run: Path, trained: int, ranks: int) -> None:
    """Raise ConfigError before any work where the disk has no room for two checkpoints (weights and two moments)."""
    run.mkdir(parents=True, exist_ok=True)
    needed, free = 2 * 3 * 4 * trained, shutil.disk_usage(run).free
    if free < needed:
        raise ConfigError(
            f"Checkpoints take about {needed / 2**30:.1f} GiB (two at a time), {run} has {free / 2**30:.1f} GiB free.",
            remedy="Free some space or give another --out.",
        )


def _reason(error: BaseException) -> str:
    """What went wrong, in the disk's own words where an error came from one."""
    if _disk_is_full(error):
        return "the disk is full"
    causes = _causes(error)
    told = next((e for e in causes if isinstance(e, OSError) and e.strerror), None)
    if told:
        return f"{told.strerror} ({told.filename})" if told.filename else str(told.strerror)
    first = next((e for e in causes if not getattr(e, "failures", None)), error)  # what torch wraps
    text = first.message if isinstance(first, MmprError) else f"{type(first).__name__}: {first}"
    return text.strip().splitlines()[-1][:300]


def _remedy(error: BaseException) -> str:
    if _disk_is_full(error):
        return "Free some space, or give another --out and copy the last checkpoint there; then --resume."
    if any(isinstance(e, OSError) for e in _causes(error)):
        return "Look at the disk and at the rights of the folder; --resume goes on from the checkpoint before."
    return "The disk is not the cause; please report this, with run.json and the log."


def _disk_is_full(error: BaseException) -> bool:
    signs = ("No space left", "enforce fail", "file write failed")  # of torch's own writers, in C++
    return any(
        (isinstance(e, OSError) and e.errno in _FULL) or any(sign in str(e) for sign in signs) for e in _causes(error)
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what each rank's was that torch gathered in it, and what these came from."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, tuple | list):
            waiting += one
        elif isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [*getattr(one, "failures", {}).values(), one.__cause__ or one.__context__]
    return found


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some mounts cannot sync folders
    finally:
        os.close(handle)


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
