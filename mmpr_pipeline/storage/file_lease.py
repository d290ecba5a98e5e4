"""The lease on a local output: a lock on a file, which the kernel releases however its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage.store import LOCK_KEY, held

GLANCE_SECONDS = 0.5
"""How long a taken lock is tried again: `is_locked` holds it for an instant, too."""


@contextmanager
def file_lease(root: Path) -> Iterator[Callable[[], None]]:
    """Hold the output in `root` alone; an output in which nothing was begun leaves no trace.

    Yields a check that never fails: this lease cannot be lost. Raises StoreError where another process holds it, or
    the folder cannot be written to.
    """
    path = root / LOCK_KEY
    handle = _locked_file(root, path)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
        yield lambda: None
    finally:
        with suppress(OSError):
            if os.listdir(root) == [LOCK_KEY]:
                path.unlink()
                root.rmdir()
        os.close(handle)  # else the file stays: removing it would let two processes lock two files of one name


def is_locked(root: Path) -> bool:
    """Whether a process holds the lease on the output in `root` now."""
    try:
        handle = os.open(root / LOCK_KEY, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _locked_file(root: Path, path: Path) -> int:
    """A handle of the lock file, locked. Raises StoreError where another process holds it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StoreError(
                f"Cannot lock {path}: {error.strerror}.", remedy="Give an output that you may write to."
            ) from error
        try:
            if not _lock(handle):
                raise held(str(root), os.pread(handle, 100, 0).decode(errors="replace").strip())
        except BaseException:
            os.close(handle)
            raise
        with suppress(OSError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)  # its last holder removed it meanwhile: another process may lock another file of this name


def _lock(handle: int) -> bool:
    """Lock a file alone; False where another process holds it for longer than a glance."""
    deadline = time.monotonic() + GLANCE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
