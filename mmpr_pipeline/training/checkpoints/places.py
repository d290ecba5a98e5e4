"""Where checkpoints lie: a directory that all nodes see, or an S3 prefix. Each is whole or not there, whatever dies.

step-00000200/   of both: torch's files (`__RANK_N.distcp`, `.metadata`), `random-RANK.pt`, and `state.json`
directory        written under a hidden name, synced, renamed when all ranks are done
S3               state.json is put last and deleted first: files without it are no checkpoint
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.storage import Store, open_store

STATE = "state.json"
_UNFINISHED = ".unfinished-"
_NAME = re.compile(r"step-(\d{8,})")


class CheckpointPlace(ABC):
    """Checkpoints of one run, by their finished steps."""

    url: str

    @abstractmethod
    def steps(self) -> list[int]:
        """Complete checkpoints, oldest first."""

    @abstractmethod
    def begin(self, step: int) -> None:
        """Make room for a checkpoint, in place of what is left of an earlier one of this step. On one rank."""

    @abstractmethod
    def folder(self, step: int) -> AbstractContextManager[Path]:
        """The folder into which a rank writes its files, after `begin`."""

    @abstractmethod
    def put(self, step: int, files: Sequence[Path]) -> None:
        """Bring a rank's files from the folder to where they stay."""

    @abstractmethod
    def commit(self, step: int, state: bytes) -> None:
        """Make the checkpoint one, when all ranks have put their files. On one rank."""

    @abstractmethod
    def abandon(self, step: int) -> None:
        """Remove what was begun and not committed. On one rank."""

    @abstractmethod
    def remove(self, step: int) -> None:
        """Remove a checkpoint. On one rank."""

    @abstractmethod
    def state(self, step: int) -> bytes:
        """The content of its state.json. Raises OSError or StoreError."""

    @abstractmethod
    def open(self, step: int, name: str, folder: Path) -> Path:
        """A local file with the content of a file of the checkpoint; downloads go into `folder`."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what killed runs left unfinished."""

    @abstractmethod
    def check_room(self, shard: int, total: int) -> None:
        """Raise ConfigError where there is no room for checkpoints of `total` bytes, `shard` of them from one rank."""

    def prune(self, keep: int, spared: int | None) -> None:
        """Remove all but the `keep` newest and the `spared` one."""
        for step in self.steps()[:-keep]:
            if step != spared:
                self.remove(step)


def checkpoint_place(run_dir: str | Path, url: str | None = None) -> CheckpointPlace:
    """The place that the settings name; by default `checkpoints` in the run's directory."""
    if url and "://" in url:
        return ObjectPlace(open_store(url))
    return DirectoryPlace(Path(url or Path(run_dir) / "checkpoints").expanduser().absolute())


def step_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


class DirectoryPlace(CheckpointPlace):
    """A directory on a disk that every rank sees."""

    def __init__(self, root: Path) -> None:
        self.root, self.url = root, str(root)

    def steps(self) -> list[int]:
        names = [path.name for path in self.root.iterdir()] if self.root.is_dir() else []
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def begin(self, step: int) -> None:
        shutil.rmtree(self._partial(step), ignore_errors=True)
        self._partial(step).mkdir(parents=True)

    @contextmanager
    def folder(self, step: int) -> Iterator[Path]:
        yield self._partial(step)

    def put(self, step: int, files: Sequence[Path]) -> None:
        """They were written where they stay."""

    def commit(self, step: int, state: bytes) -> None:
        partial, target = self._partial(step), self.root / step_name(step)
        with open(partial / STATE, "wb") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)  # of the same step, from before a resume
        os.rename(partial, target)
        handle = os.open(self.root, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError:
            pass  # some mounts cannot sync folders
        finally:
            os.close(handle)

    def abandon(self, step: int) -> None:
        shutil.rmtree(self._partial(step), ignore_errors=True)

    def remove(self, step: int) -> None:
        hidden = self.root / f"{_UNFINISHED}old-{step_name(step)}"
        os.rename(self.root / step_name(step), hidden)  # what is half removed must not have a checkpoint's name
        shutil.rmtree(hidden, ignore_errors=True)

    def state(self, step: int) -> bytes:
        return (self.root / step_name(step) / STATE).read_bytes()

    def open(self, step: int, name: str, folder: Path) -> Path:
        return self.root / step_name(step) / name

    def sweep(self) -> None:
        for path in self.root.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def check_room(self, shard: int, total: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if free < 2 * total:
            raise ConfigError(
                f"Checkpoints take about {2 * total / 2**30:.1f} GiB (two at a time), {self.root} has"
                f" {free / 2**30:.1f} GiB free.",
                remedy="Free some space, or name another place by the setting `checkpoints`.",
            )

    def _partial(self, step: int) -> Path:
        return self.root / f"{_UNFINISHED}{step_name(step)}"


class ObjectPlace(CheckpointPlace):
    """A prefix of an object store. A rank's files lie in a temporary folder of its node until they are put."""

    def __init__(self, store: Store) -> None:
        self.store, self.url = store, store.url

    def steps(self) -> list[int]:
        found = [key.partition("/") for key in self.store.list("step-") if key.endswith(f"/{STATE}")]
        return sorted(int(match[1]) for name, _, _ in found if (match := _NAME.fullmatch(name)))

    def begin(self, step: int) -> None:
        self.remove(step)

    @contextmanager
    def folder(self, step: int) -> Iterator[Path]:
        with self.store.workspace() as folder:
            yield folder

    def put(self, step: int, files: Sequence[Path]) -> None:
        for file in files:
            self.store.put_file(_key(step, file.name), file)

    def commit(self, step: int, state: bytes) -> None:
        self.store.write(_key(step, STATE), state)

    def abandon(self, step: int) -> None:
        self.remove(step)

    def remove(self, step: int) -> None:
        self.store.delete(_key(step, STATE))
        self.store.delete_prefix(f"{step_name(step)}/")

    def state(self, step: int) -> bytes:
        return self.store.read(_key(step, STATE))

    def open(self, step: int, name: str, folder: Path) -> Path:
        return self.store.fetch(_key(step, name), folder)

    def sweep(self) -> None:
        names = {key.partition("/")[0] for key in self.store.list("step-")}
        whole = {step_name(step) for step in self.steps()}
        for name in names - whole:
            self.store.delete_prefix(f"{name}/")

    def check_room(self, shard: int, total: int) -> None:
        self.store.check_writable()
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        place = tempfile.gettempdir()
        free = shutil.disk_usage(place).free
        if free < local * shard:
            raise ConfigError(
                f"{local * shard / 2**30:.1f} GiB of a checkpoint lie on this node until they are uploaded, {place} has"
                f" {free / 2**30:.1f} GiB free.",
                remedy="Name a larger temporary folder by TMPDIR.",
            )


def _key(step: int, name: str) -> str:
    """A store lists no names with a dot in front."""
    return f"{step_name(step)}/{name.removeprefix('.')}"
