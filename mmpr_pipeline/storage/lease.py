"""Leases: who builds an output holds it alone.

Of a local output it is a lock on a file, which the kernel releases however its holder dies. In an object store it is an
object put under conditions and renewed: the lease of a holder that dies lapses after `LEASE_SECONDS`, and at once for a
build on the same machine. Time is the server's: no two machines' clocks are compared.

Whether a holder is dead is said only where it can be seen from here. A process is named so that no other one, on this
machine or elsewhere, before or after, has the same name. Where the machine does not tell these things (no /proc),
nothing can be seen and the caller waits instead.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.masking import logger
from mmpr_pipeline.storage.s3_errors import patience
from mmpr_pipeline.storage.store import LOCK_KEY, MissingKeyError, held

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


LEASE_SECONDS = 60.0
RENEWAL_SECONDS = 15.0
RETRY_SECONDS = 5.0
"""Seconds between tries to renew at a store that does not answer."""

LOOK_SECONDS = 1.0
"""Seconds between looks at a lease of which it is not known whether its holder lives."""


_log = logger(__name__)


@dataclass(frozen=True)
class Stamped:
    """An object as it lies in a store: seconds since it was put, by the server's own clock, its ETag, its content."""

    age: float
    etag: str
    body: bytes


class ConditionalStore(Protocol):
    """What a lease asks of a store."""

    url: str

    def put_if(self, key: str, data: bytes, condition: dict[str, str]) -> str | None:
        """Put under a condition (`IfNoneMatch` or `IfMatch`): the new ETag, or None where the condition failed."""

    def stamped(self, key: str) -> Stamped:
        """The object. Raises MissingKeyError."""

    def delete(self, key: str) -> None:
        """Remove the key; no error where it does not exist."""


class ObjectLease:
    """The lease object's life: put once, renewed by a thread, deleted."""

    def __init__(self, store: ConditionalStore, renewing: ConditionalStore) -> None:
        """`renewing`: the same store without patience. The thread that renews has its own way to wait, and a build that
        ends must not wait for its lease."""
        self._store, self._renewing = store, renewing
        self._owner, self._etag = uuid.uuid4().hex, ""
        self._stop, self._one_renewal = threading.Event(), threading.Lock()
        self._lost, self._renewed = "", 0.0
        self._thread = threading.Thread(target=self._renew, name="mmpr-lease", daemon=True)

    def is_held(self) -> bool:
        """Whether a process holds the lease now, this one or another."""
        present = self.present()
        if present is None or seen_dead(present.holder):
            return False
        return seen_alive(present.holder) or present.age < LEASE_SECONDS

    def acquire(self) -> None:
        """Take the lease. Raises StoreError where another process holds it.

        A lease that was left by a process seen dead is taken at once. Of one whose holder cannot be seen from here it
        is waited whether it is renewed, which a living holder does, or lapses.
        """
        watched = ""
        while not (etag := self._put({"IfNoneMatch": "*"})):
            present = self.present()
            if present is None:
                continue  # released at this very moment
            if watched not in ("", present.etag) or seen_alive(present.holder):
                raise held(self._store.url, f"its lease was renewed {present.age:.0f} s ago")
            if present.age >= LEASE_SECONDS or seen_dead(present.holder):
                etag = self._put({"IfMatch": present.etag})
                if etag is None:
                    raise held(self._store.url, "it took the lease just now")
                break
            if not watched:
                _log.warning(
                    "%s: found a lease. Waiting at most %.0f s to see whether its build is still running.",
                    self._store.url,
                    LEASE_SECONDS - present.age,
                )
            watched = present.etag
            time.sleep(LOOK_SECONDS)
        self._etag, self._renewed = etag, time.monotonic()
        self._store = self._renewing
        self._thread.start()

    def check(self) -> None:
        """Raise StoreError where the lease was lost: S3 was away for too long, or another build took it meanwhile."""
        if time.monotonic() - self._renewed > LEASE_SECONDS:  # this process was paused: the thread may not know yet
            with self._one_renewal, suppress(StoreError):
                present = self.present()
                if present is None or present.owner != self._owner:
                    self._lost = self._lost or "another process took it"
        if self._lost:
            raise StoreError(
                f"The lease on {self._store.url} was lost: {self._lost}", remedy="Run the same command again."
            )

    def release(self) -> None:
        """End the renewal, and delete the lease if it is still this one."""
        self._stop.set()
        self._thread.join()
        with suppress(StoreError):  # what cannot be released lapses
            if not self._lost and (present := self.present()) and present.owner == self._owner:
                self._store.delete(LOCK_KEY)

    def _put(self, condition: dict[str, str]) -> str | None:
        """The new ETag, or None where the condition failed: the lease is there, or another's, or gone."""
        renewal = {"owner": self._owner, "renewal": uuid.uuid4().hex, "holder": this_process()}
        try:
            return self._store.put_if(LOCK_KEY, json.dumps(renewal).encode(), condition)
        except MissingKeyError:
            return None

    def present(self) -> _Present | None:
        """The lease that lies there; its age in seconds is by the server's own clock."""
        try:
            found = self._store.stamped(LOCK_KEY)
        except MissingKeyError:
            return None
        try:
            content = json.loads(found.body)
            owner, holder = content.get("owner"), content.get("holder")
        except (ValueError, AttributeError):
            owner = holder = None
        return _Present(found.age, found.etag, owner, holder)

    def _renew(self) -> None:
        """Renew until stopped. A store that is away cannot give the lease to anybody else, so it is waited for; the
        condition on the renewal tells, when it is back, whether somebody was quicker."""
        wait = RENEWAL_SECONDS
        while not self._stop.wait(wait):
            try:
                with self._one_renewal:
                    etag = self._put({"IfMatch": self._etag})
                    if etag is None and (present := self.present()) and present.owner == self._owner:
                        etag = present.etag  # an earlier renewal was done, although its answer was lost
                    self._etag = etag or self._etag
            except Exception as error:
                wait = min(RENEWAL_SECONDS, RETRY_SECONDS)
                if time.monotonic() - self._renewed > max(patience(), LEASE_SECONDS):
                    self._lost = f"it could not be renewed: {error}"
                    return
                continue
            if etag is None:
                self._lost = "another process took it"
                return
            self._renewed, wait = time.monotonic(), RENEWAL_SECONDS


@dataclass(frozen=True)
class _Present:
    """A lease that lies in a store: seconds since it was put or renewed, its ETag, whose it is, who put it."""

    age: float
    etag: str
    owner: object
    holder: object


def this_process() -> dict[str, str | int]:
    """This process: the machine's boot, the namespace of its process numbers, its number, and when it started."""
    pid = os.getpid()
    return {**_place(), "pid": pid, "started": _started(pid) or ""}


def seen_dead(holder: Any) -> bool:
    """Whether the holder is a process of this machine that has ended."""
    return _is_here(holder) and not seen_alive(holder)


def seen_alive(holder: Any) -> bool:
    """Whether the holder is a process of this machine that goes on."""
    return _is_here(holder) and _started(holder["pid"]) == holder["started"]


def _is_here(holder: Any) -> bool:
    place = _place()
    return (
        bool(place)
        and isinstance(holder, dict)
        and {name: holder.get(name) for name in place} == place
        and isinstance(holder.get("pid"), int)
        and bool(holder.get("started"))
    )


def _place() -> dict[str, str | int]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return {"boot": boot, "processes": os.stat("/proc/self/ns/pid").st_ino}
    except OSError:
        return {}


def _started(pid: int) -> str | None:
    """The clock tick at which a process started; None where there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
