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
from torch import nn

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.json_files import sealed, unsealed
from mmpr_pipeline.dataset.files.arrow_file import sha256_of
from mmpr_pipeline.storage import MissingKeyError
from mmpr_pipeline.training.checkpoints.places import CheckpointPlace, reason_of, remedy_of, step_name
from mmpr_pipeline.training.distributed.world import ALONE, World


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: finished optimizer steps (hence place in the data and in the schedule), and δ's sums."""

    step: int
    pairs: int
    shift_total: float
    shift_count: int


def state_file(progress: RunProgress, hashes: dict[str, str]) -> bytes:
    """state.json: the progress, and the sha256 of every other file of the checkpoint."""
    return sealed({**asdict(progress), "hashes": hashes})


def read_state_file(raw: bytes) -> tuple[RunProgress, dict[str, str]]:
    """Progress and hashes. Raises ValueError where it is damaged."""
    names = frozenset(field.name for field in fields(RunProgress))
    state = unsealed(raw, names | {"hashes"}, frozenset())
    hashes = state.pop("hashes")
    return RunProgress(**state), hashes


def tensors_of(model: nn.Module, optimizer: torch.optim.Optimizer, reference: nn.Module | None) -> dict[str, object]:
    """Weights and AdamW's moments as torch.distributed.checkpoint takes them: this rank's shards."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_state_dict

    _complete_moments(optimizer)
    weights, moments = get_state_dict(model, optimizer, options=StateDictOptions(ignore_frozen_params=True))
    state: dict[str, object] = {"model": weights, "optimizer": moments}
    if reference is not None:
        state["reference"] = get_model_state_dict(reference)
    return state


def _complete_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give AdamW's state before its first step to every parameter that has none: in a new optimizer, to load into; and
    where no gradient comes, as in the last layer of LLaVA's vision tower, so that every checkpoint has the same keys.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not optimizer.state[parameter]:
                step = torch.zeros((), device=parameter.device if group.get("fused") else "cpu")
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                optimizer.state[parameter] = {"step": step, **moments}


def set_tensors(
    state: dict[str, object], model: nn.Module, optimizer: torch.optim.Optimizer, reference: nn.Module | None
) -> None:
    """Bring model, optimizer and reference to what `tensors_of` gave of others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict, set_state_dict

    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=StateDictOptions(ignore_frozen_params=True, strict=False),
    )
    if reference is not None:
        set_model_state_dict(reference, state["reference"])


def random_state() -> dict[str, torch.Tensor]:
    """The generators of this rank."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    """Bring the generators to a state."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


RANDOM = "random-{:05d}.pt"
"""A rank's file of the states of its random generators."""


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
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        """`behind`: whether a save returns before it is written; `committed` is called, in that thread of the first
        rank, when a checkpoint is in its place."""
        from torch.distributed.checkpoint.staging import BlockingAsyncStager

        self.place, self._world, self._committed = place, world, committed
        self._of = (model, optimizer, reference)
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
        tensors, random = tensors_of(*self._of), random_state()
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
        import torch.distributed.checkpoint as dcp
        from torch.distributed.checkpoint.api import CheckpointException  # not an Exception

        self.wait()
        state, progress, problem = tensors_of(*self._of), None, None
        with tempfile.TemporaryDirectory(prefix="mmpr-") as folder:
            try:
                progress, hashes = read_state_file(self.place.state(step))
                files = _SoundFiles(self.place, step, hashes, Path(folder))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that one process alone is not distributed
                    dcp.load(state, storage_reader=files.reader())
                own = RANDOM.format(self._world.rank)
                if own in hashes:
                    set_random_state(torch.load(files.open(own), weights_only=True))
            except (Exception, CheckpointException) as error:
                problem = reason_of(error)
        problems = [each for each in self._world.all_gather(problem) if each]
        if problems or progress is None:
            raise StoreError(
                f"The checkpoint {self.place.url}/{step_name(step)} cannot be read: {problems[0]}.",
                remedy="Remove it to go on from the one before, or start a new run.",
            )
        set_tensors(state, *self._of)
        return progress

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
                problem = (reason_of(error), remedy_of(error))
            everywhere = world.all_gather((problem, made))
            failed.extend(each for each, _ in everywhere if each)
            return [each for _, each in everywhere]

        def commit() -> None:
            if world.is_main:
                place.commit(step, state_file(progress, {name: value for own in hashes for name, value in own.items()}))
                self._committed()

        from torch.distributed.checkpoint.api import CheckpointException  # not an Exception

        try:
            agreed(lambda: place.remove(step) if world.is_main else None)  # what is left of an earlier one
            hashes = agreed(lambda: self._files(step, tensors, random))
            agreed(commit)
        except RuntimeError as error:  # another rank is gone
            failed.append((reason_of(error), "--resume goes on from the checkpoint before."))
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
        import torch.distributed.checkpoint as dcp

        with self.place.store.workspace() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one process alone is not distributed
            dcp.save(tensors, checkpoint_id=folder, process_group=self._world.patient)
            torch.save(random, folder / RANDOM.format(self._world.rank))
            files = sorted(folder.iterdir())
            hashes = {file.name: sha256_of(file) for file in files}
            self.place.put(step, files)
        return hashes


class _SoundFiles:
    """Files of a checkpoint, opened only where they are what its state says."""

    def __init__(self, place: CheckpointPlace, step: int, hashes: dict[str, str], folder: Path) -> None:
        self._place, self._step, self._hashes, self._folder = place, step, hashes, folder

    def open(self, name: str) -> Path:
        """Raises ValueError where it is gone or damaged."""
        try:
            path = self._place.open(self._step, name, self._folder)
            if sha256_of(path) == self._hashes.get(name):
                return path
        except MissingKeyError:
            pass
        raise ValueError(f"{name} is gone or damaged")

    def reader(self) -> Any:
        """A reader for torch.distributed.checkpoint."""
        from torch.distributed.checkpoint import FileSystemReader
        from torch.distributed.checkpoint.filesystem import FileSystem

        opened = self.open

        class Checked(FileSystem):
            """Opens sound files by their names."""

            @contextmanager
            def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
                with open(opened(Path(path).name), "rb") as stream:
                    yield stream

        reader = FileSystemReader(self._folder)
        reader.fs = Checked()
        return reader
