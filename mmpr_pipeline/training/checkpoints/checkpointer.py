"""Writes checkpoints behind the training, and reads them: on every rank, each of which handles its own shard.

A checkpoint holds trained weights, the optimizer's moments, a moving reference, random states and the progress; frozen
parameters are the model's own. A save copies the rank's shard to main memory; the disk, or S3, is another thread's
matter while the next steps are computed. Ranks agree in that thread by a process group of their own. What failed there
is raised by the next call.
"""

from __future__ import annotations

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

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.files import sealed, sha256_of, unsealed
from mmpr_pipeline.storage import MissingKeyError
from mmpr_pipeline.training.checkpoints.places import CheckpointPlace, failure_of, step_name
from mmpr_pipeline.training.distributed.world import ALONE, World

RANDOM = "random-{:05d}.pt"
"""A rank's file of the states of its random generators."""


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
                state = unsealed(self.place.state(step), names | {"hashes"}, frozenset())
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
        """All of a save that needs the disk; what fails on one rank fails on all."""
        world, place, step = self._world, self.place, progress.step
        failed: list[tuple[str, str]] = []

        def agreed(work: Callable[[], Any]) -> list[Any]:
            """What the work of every rank gave; nothing is begun any more where an earlier one failed somewhere."""
            problem, made = None, None
            try:
                made = None if failed else work()
            except (Exception, CheckpointException) as error:  # torch wraps what a rank's disk said
                problem = failure_of(error)
            everywhere = world.all_gather((problem, made))
            failed.extend(each for each, _ in everywhere if each)
            return [each for _, each in everywhere]

        def commit() -> None:
            """state.json: the progress, and the sha256 of every other file of the checkpoint."""
            if world.is_main:
                of_all = {name: value for own in hashes for name, value in own.items()}
                place.commit(step, sealed({**asdict(progress), "hashes": of_all}))
                self._committed()

        try:
            agreed(lambda: place.remove(step) if world.is_main else None)  # what is left of an earlier one
            hashes = agreed(lambda: self._files(step, tensors, random))
            agreed(commit)
        except RuntimeError as error:  # another rank is gone
            failed.append((failure_of(error)[0], "--resume goes on from the checkpoint before."))
        if failed:
            if world.is_main:
                with suppress(OSError, StoreError):  # the failure itself is what is told
                    place.remove(step)
            what, remedy = failed[0]
            self._failure = StoreError(
                f"The checkpoint of step {step} cannot be written to {place.url}: {what}.", remedy=remedy
            )

    def _files(self, step: int, tensors: dict[str, object], random: dict[str, torch.Tensor]) -> dict[str, str]:
        """Write this rank's files, and bring them to their place; gives their sha256 by name."""
        with self.place.store.workspace() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one process alone is not distributed
            dcp.save(tensors, checkpoint_id=folder, process_group=self._world.patient)
            torch.save(random, folder / RANDOM.format(self._world.rank))
            files = sorted(folder.iterdir())
            hashes = {file.name: sha256_of(file) for file in files}
            self.place.put(step, files)
        return hashes


class _SoundFiles(FileSystem):
    """Files of a checkpoint, opened only where they are what its state says."""

    def __init__(self, place: CheckpointPlace, step: int, hashes: dict[str, str], folder: Path) -> None:
        self._place, self._step, self._hashes, self._folder = place, step, hashes, folder

    def open(self, name: str) -> Path:
        """Raises ValueError where it is gone or damaged."""
        with suppress(MissingKeyError):
            path = self._place.open(self._step, name, self._folder)
            if sha256_of(path) == self._hashes.get(name):
                return path
        raise ValueError(f"{name} is gone or damaged")

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        with open(self.open(Path(path).name), "rb") as stream:
            yield stream
