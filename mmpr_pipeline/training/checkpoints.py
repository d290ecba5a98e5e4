"""Checkpoints: complete or absent, whatever dies; written behind the training, and read, by every rank its own shard.

step-00000200/   torch's files (`__RANK_N.distcp`, `metadata`), `random-RANK.pt`, and `state.json`, which is put last
                 and deleted first: a folder without it is not a checkpoint

A checkpoint holds trained weights, the optimizer's moments, a moving reference, random states and the progress; frozen
parameters are the model's own. It lies in a directory that all nodes see, or below an S3 prefix. A save copies the
rank's shard to main memory; the disk, or S3, is another thread's matter while the next steps are computed. Ranks agree
in that thread by a process group of their own. What failed there is raised by the next call, in the disk's own words
where a disk stopped it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException  # not an Exception
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.staging import BlockingAsyncStager
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)

from mmpr_pipeline.core.errors import ConfigError, MmprError, StoreError
from mmpr_pipeline.core.files import sealed, sha256_of, unsealed
from mmpr_pipeline.storage import MissingKeyError, open_store
from mmpr_pipeline.storage.local import UNFINISHED
from mmpr_pipeline.training.world import ALONE, World

RANDOM = "random-{:05d}.pt"
"""A rank's file of the states of its random generators."""
STATE = "state.json"
_NAME = re.compile(r"step-(\d{8,})")


def step_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


class CheckpointPlace:
    """Checkpoints of one run, by their finished steps. What changes a checkpoint is for one rank."""

    def __init__(self, run: str | Path, url: str | None = None) -> None:
        """At the `url` that the settings name; by default `checkpoints` in the run's directory."""
        self.store = open_store(url or Path(run) / "checkpoints")
        self.url = self.store.url

    def steps(self) -> list[int]:
        """Complete checkpoints, oldest first."""
        found = [key.partition("/") for key in self.store.list("step-") if key.endswith(f"/{STATE}")]
        return sorted(int(match[1]) for name, _, _ in found if (match := _NAME.fullmatch(name)))

    def remove(self, name: str) -> None:
        """Remove a checkpoint's folder, or what there is of it."""
        self.store.delete(f"{name}/{STATE}")
        self.store.delete_prefix(f"{name}/")
        if self.store.folder:  # hidden files, too
            shutil.rmtree(self.store.folder / name, ignore_errors=True)

    def prune(self, keep: int, spared: int | None) -> None:
        """Remove all but the `keep` newest and the `spared` one."""
        for step in self.steps()[:-keep]:
            if step != spared:
                self.remove(step_name(step))

    def sweep(self) -> None:
        """Remove what killed runs left unfinished."""
        found = {key.partition("/")[0] for key in self.store.list("step-")}
        if self.store.folder:  # what a store hides it does not list
            found |= {path.name for path in self.store.folder.glob("step-*")}
            found |= {path.name for path in self.store.folder.glob(f"{UNFINISHED}*")}
        whole = {step_name(step) for step in self.steps()}
        for name in found - whole:
            if _NAME.fullmatch(name) or name.startswith(UNFINISHED):  # others' files may lie there, too
                self.remove(name)

    def check_room(self, shard: int, total: int) -> None:
        """Raise ConfigError where there is no room for checkpoints of `total` bytes, `shard` of them from one rank."""
        self.store.check_writable()
        if self.store.folder:
            place, needed = self.store.folder, 2 * total
            what, remedy = "Checkpoints, two at a time, take", "another place by the setting `checkpoints`"
        else:
            place, needed = Path(tempfile.gettempdir()), shard * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            what, remedy = "Until they are uploaded, this node's parts of a checkpoint take", "a folder by TMPDIR"
        free = shutil.disk_usage(place).free
        if free < needed:
            raise ConfigError(
                f"{what} about {needed / 2**30:.1f} GiB, {place} has {free / 2**30:.1f} GiB free.",
                remedy=f"Free some space, or name {remedy}.",
            )


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: finished optimizer steps (hence place in the data and in the schedule), and δ's sums."""

    step: int
    pairs: int
    shift_total: float
    shift_count: int


class Checkpointer:
    """Saves and loads the state of a run. Every method is to be called by every rank."""

    def __init__(
        self,
        place: CheckpointPlace,
        world: World,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        reference: nn.Module | None = None,
        *,
        behind: bool = True,
        committed: Callable[[], object] = lambda: None,
    ) -> None:
        """`behind`: whether a save returns before it is written; `committed` is called, in that thread of the first
        rank, when a checkpoint is in its place."""
        self.place, self._world, self._committed = place, world, committed
        self._model, self._optimizer, self._reference = model, optimizer, reference
        self._stager = BlockingAsyncStager(cache_staged_state_dict=world.device.type == "cuda") if behind else None
        if behind and torch.distributed.is_initialized():
            group = torch.distributed.new_group(backend="gloo", timeout=ALONE)
            self._world = replace(world, patient=group, group=group)
        self._writing: threading.Thread | None = None
        self._failure: StoreError | None = None

    def save(self, progress: RunProgress) -> None:
        """Save a checkpoint, behind the training or at once. Raises StoreError where this one or the one before cannot
        be written; those before it are as they were, and nothing stays of it."""
        self.wait()
        tensors, random = self._tensors(), {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        if self._stager is None:
            self._write(progress, tensors, random)
            return self.wait()
        staged: Any = self._stager.stage(tensors)
        arguments = (progress, staged, random)
        self._writing = threading.Thread(target=self._write, args=arguments, name="checkpoint", daemon=True)
        self._writing.start()

    def wait(self) -> None:
        """Wait until all that was saved is written. Raises StoreError where it could not be."""
        if self._writing:
            self._writing.join()
            self._writing = None
        failure, self._failure = self._failure, None
        if failure:
            raise failure

    def load(self, step: int) -> RunProgress:
        """Bring model, optimizer and moving reference to a checkpoint's state, in place; and the random generators,
        where as many ranks wrote it. Raises StoreError where it is damaged."""
        self.wait()
        tensors, progress, problem = self._tensors(), None, None
        with tempfile.TemporaryDirectory(prefix="mmpr-") as folder:
            try:
                names = frozenset(field.name for field in fields(RunProgress))
                state = unsealed(self.place.store.read(f"{step_name(step)}/{STATE}"), names | {"hashes"}, frozenset())
                hashes = state.pop("hashes")
                files, reader = _SoundFiles(self.place, step, hashes, Path(folder)), dcp.FileSystemReader(folder)
                reader.fs = files
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that one process alone is not distributed
                    dcp.load(tensors, storage_reader=reader)
                own = RANDOM.format(self._world.rank)
                if own in hashes:
                    random = torch.load(files.open(own), weights_only=True)
                    torch.set_rng_state(random["cpu"])
                    if "cuda" in random and torch.cuda.is_available():
                        torch.cuda.set_rng_state(random["cuda"])
                progress = RunProgress(**state)
            except (Exception, CheckpointException) as error:
                problem, _ = failure_of(error)
        problems = [each for each in self._world.all_gather(problem) if each]
        if problems or progress is None:
            raise StoreError(
                f"The checkpoint {self.place.url}/{step_name(step)} cannot be read: {problems[0]}.",
                remedy="Remove it to go on from the one before, or start a new run.",
            )
        options = StateDictOptions(ignore_frozen_params=True, strict=False)
        weights, moments = tensors["model"], tensors["optimizer"]
        set_state_dict(
            self._model, self._optimizer, model_state_dict=weights, optim_state_dict=moments, options=options
        )  # fmt: skip
        if self._reference is not None:
            set_model_state_dict(self._reference, tensors["reference"])
        return progress

    def _tensors(self) -> dict[str, Any]:
        """Weights and AdamW's moments as torch.distributed.checkpoint takes them: this rank's shards.

        AdamW's state before its first step is given to every parameter that has none: in a new optimizer, to load into;
        and where no gradient comes, as in the last layer of LLaVA's vision tower, so that every checkpoint has the same
        keys.
        """
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                if not self._optimizer.state[parameter]:
                    step = torch.zeros((), device=parameter.device if group.get("fused") else "cpu")
                    moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                    self._optimizer.state[parameter] = {"step": step, **moments}
        options = StateDictOptions(ignore_frozen_params=True)
        weights, of_optimizer = get_state_dict(self._model, self._optimizer, options=options)
        second = {"reference": get_model_state_dict(self._reference)} if self._reference is not None else {}
        return {"model": weights, "optimizer": of_optimizer, **second}

    def _write(self, progress: RunProgress, tensors: dict[str, object], random: dict[str, torch.Tensor]) -> None:
        """All of a save that needs the disk, in three parts; what fails on one rank fails on all, and nothing is begun
        any more where an earlier part failed somewhere. state.json holds the progress and the sha256 of every file."""
        world, store, name = self._world, self.place.store, step_name(progress.step)
        failed: list[tuple[str, str]] = []
        hashes: dict[str, str] = {}
        for part in ("clear", "files", "state"):
            problem, own = None, dict[str, str]()
            try:
                if failed:
                    pass
                elif part == "files":  # of every rank
                    with store.workspace() as folder, warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # that one process alone is not distributed
                        dcp.save(tensors, checkpoint_id=folder, process_group=world.patient)
                        torch.save(random, folder / RANDOM.format(world.rank))
                        files = sorted(folder.iterdir())
                        own = {file.name: sha256_of(file) for file in files}
                        for file in files:  # a store lists no names with a dot in front, as torch's `.metadata` has
                            store.put_file(f"{name}/{file.name.removeprefix('.')}", file)
                elif world.is_main and part == "clear":
                    self.place.remove(name)  # what is left of an earlier one
                elif world.is_main:
                    store.write(f"{name}/{STATE}", sealed({**asdict(progress), "hashes": hashes}))
                    self._committed()
            except (Exception, CheckpointException) as error:  # torch wraps what a rank's disk said
                problem = failure_of(error)
            try:
                everywhere = world.all_gather((problem, own))
            except RuntimeError as error:  # another rank is gone
                failed.append((failure_of(error)[0], "--resume goes on from the checkpoint before."))
                break
            failed += [each for each, _ in everywhere if each]
            hashes.update(entry for _, files_of_rank in everywhere for entry in files_of_rank.items())
        if failed:
            if world.is_main:
                with suppress(OSError, StoreError):  # the failure itself is what is said
                    self.place.remove(name)
            what, remedy = failed[0]
            self._failure = StoreError(
                f"The checkpoint of step {progress.step} cannot be written to {self.place.url}: {what}.", remedy=remedy
            )


class _SoundFiles(FileSystem):
    """Files of a checkpoint, opened only where they are what its state says."""

    def __init__(self, place: CheckpointPlace, step: int, hashes: dict[str, str], folder: Path) -> None:
        self._place, self._step, self._hashes, self._folder = place, step, hashes, folder

    def open(self, name: str) -> Path:
        """Raises ValueError where it is gone or damaged."""
        with suppress(MissingKeyError):
            key = f"{step_name(self._step)}/{name.removeprefix('.')}"
            path = self._place.store.fetch(key, self._folder)
            if sha256_of(path) == self._hashes.get(name):
                return path
        raise ValueError(f"{name} is gone or damaged")

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        with open(self.open(Path(path).name), "rb") as stream:
            yield stream


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SIGNS_OF_FULL = ("No space left", "enforce fail", "file write failed")  # of torch's own writers, in C++


def failure_of(error: BaseException) -> tuple[str, str]:
    """What stopped a save or a load, in a line, and what can be done about a save that failed."""
    causes: list[BaseException] = []  # the error, each rank's that torch gathered in it, and what these came from
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, tuple | list):
            waiting += one
        elif isinstance(one, BaseException) and one not in causes:
            causes.append(one)
            waiting += [*getattr(one, "failures", {}).values(), one.__cause__ or one.__context__]
    of_disk = [each for each in causes if isinstance(each, OSError)]
    if any(each.errno in _FULL for each in of_disk) or any(sign in str(e) for e in causes for sign in _SIGNS_OF_FULL):
        remedy = "Free some space, or give another --out and copy the last checkpoint there; then --resume."
        return "the disk is full", remedy
    if said := next((each for each in of_disk if each.strerror), None):
        reason = f"{said.strerror} ({said.filename})" if said.filename else str(said.strerror)
    else:
        first = next((each for each in causes if not getattr(each, "failures", None)), error)  # what torch wraps
        text = first.message.rstrip(".") if isinstance(first, MmprError) else f"{type(first).__name__}: {first}"
        reason = text.strip().splitlines()[-1][:300]
    of_ours = next((each for each in causes if isinstance(each, MmprError) and each.remedy), None)
    if of_ours:
        return reason, f"{of_ours.remedy} --resume goes on from the checkpoint before."
    if of_disk:
        remedy = "Look at the disk and at the rights of the folder; --resume goes on from the checkpoint before."
        return reason, remedy
    return reason, "The disk is not the cause; please report this, with run.json and the log."
