"""Where checkpoints lie: a directory that all nodes see, or an S3 prefix. Each is whole or absent, whatever dies.

step-00000200/   torch's files (`__RANK_N.distcp`, `metadata`), `random-RANK.pt`, and `state.json`, which is put last
                 and deleted first: a folder without it is not a checkpoint

What stops a save or a load is said in the disk's own words where a disk stopped it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, MmprError
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.storage.local import UNFINISHED

STATE = "state.json"
_NAME = re.compile(r"step-(\d{8,})")


class CheckpointPlace:
    """Checkpoints of one run, by their finished steps. What changes a checkpoint is for one rank, but for `put`."""

    def __init__(self, url: str | Path) -> None:
        self.store = open_store(url)
        self.url = self.store.url

    def steps(self) -> list[int]:
        """Complete checkpoints, oldest first."""
        found = [key.partition("/") for key in self.store.list("step-") if key.endswith(f"/{STATE}")]
        return sorted(int(match[1]) for name, _, _ in found if (match := _NAME.fullmatch(name)))

    def put(self, step: int, files: Sequence[Path]) -> None:
        """Bring a rank's files from a workspace of the store to where they stay."""
        for file in files:
            self.store.put_file(_key(step, file.name), file)

    def commit(self, step: int, state: bytes) -> None:
        """Make the checkpoint one, when all ranks have put their files."""
        self.store.write(_key(step, STATE), state)

    def remove(self, step: int) -> None:
        """Remove a checkpoint, or what there is of one."""
        self.store.delete(_key(step, STATE))
        self._clear(step_name(step))

    def prune(self, keep: int, spared: int | None) -> None:
        """Remove all but the `keep` newest and the `spared` one."""
        for step in self.steps()[:-keep]:
            if step != spared:
                self.remove(step)

    def state(self, step: int) -> bytes:
        """The content of its state.json. Raises StoreError."""
        return self.store.read(_key(step, STATE))

    def open(self, step: int, name: str, folder: Path) -> Path:
        """A local file with the content of a file of the checkpoint; downloads go into `folder`."""
        return self.store.fetch(_key(step, name), folder)

    def sweep(self) -> None:
        """Remove what killed runs left unfinished."""
        found = {key.partition("/")[0] for key in self.store.list("step-")}
        if self.store.folder:  # what a store hides it does not list
            found |= {path.name for path in self.store.folder.glob("step-*")}
            found |= {path.name for path in self.store.folder.glob(f"{UNFINISHED}*")}
        whole = {step_name(step) for step in self.steps()}
        for name in found - whole:
            if _NAME.fullmatch(name) or name.startswith(UNFINISHED):  # others' files may lie there, too
                self._clear(name)

    def _clear(self, name: str) -> None:
        self.store.delete_prefix(f"{name}/")
        if self.store.folder:  # hidden files, too
            shutil.rmtree(self.store.folder / name, ignore_errors=True)

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


def checkpoint_place(run_dir: str | Path, url: str | None = None) -> CheckpointPlace:
    """The place that the settings name; by default `checkpoints` in the run's directory."""
    return CheckpointPlace(url or Path(run_dir) / "checkpoints")


def step_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


def _key(step: int, name: str) -> str:
    """A store lists no names with a dot in front, as torch's `.metadata` has."""
    return f"{step_name(step)}/{name.removeprefix('.')}"


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
