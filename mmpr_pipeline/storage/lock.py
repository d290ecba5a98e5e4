"""An exclusive lease on an output: two builds on one output are stopped by it, not by luck.

Local: a file lock, which the kernel releases however its holder dies. S3: an object put under conditions and renewed;
the lease of a holder that dies lapses after `LEASE_SECONDS`, and at once for a build on the same machine. Time is the
server's: no two machines' clocks are compared.
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
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.masking import logger
from mmpr_pipeline.storage.holder import seen_alive, seen_dead, this_process
from mmpr_pipeline.storage.local import LocalStore
from mmpr_pipeline.storage.s3 import S3Store
from mmpr_pipeline.storage.s3_retry import patience
from mmpr_pipeline.storage.store import LOCK_KEY, MissingKeyError, Store

LEASE_SECONDS = 60.0
RENEWAL_SECONDS = 15.0
RETRY_SECONDS = 5.0
"""Seconds between tries to renew at a store that does not answer."""

LOOK_SECONDS = 1.0
"""Seconds between looks at a lease of which it is not known whether its holder lives."""

GLANCE_SECONDS = 0.5
"""How long a taken file lock is tried again: `is_held` holds it for an instant, too."""

_log = logger(__name__)


@contextmanager
def lease(store: Store) -> Iterator[Callable[[], None]]:
    """Hold the output alone; raises StoreError where another process holds it.

    Yields a check to call now and then: it raises StoreError where the lease was lost (S3 was away for too long, or
    another build took it meanwhile).
    """
    if isinstance(store, LocalStore):
        with _file_lock(store):
            yield lambda: None
    elif isinstance(store, S3Store):
        held = _ObjectLease(store)
        held.acquire()
        try:
            yield held.check
        finally:
            held.release()
    else:
        raise StoreError(f"{store!r} has no lease.")


def is_held(store: Store) -> bool:
    """Whether a process holds the output's lease now. Changes nothing, and may be asked at any time.

    Raises StoreError where the store cannot be read.
    """
    if isinstance(store, LocalStore):
        return _file_is_locked(store)
    if isinstance(store, S3Store):
        present = _ObjectLease(store).present()
        if present is None or seen_dead(present.holder):
            return False
        return seen_alive(present.holder) or present.age < LEASE_SECONDS
    return False


def _file_is_locked(store: LocalStore) -> bool:
    try:
        handle = os.open(store.root / LOCK_KEY, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


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


@contextmanager
def _file_lock(store: LocalStore) -> Iterator[None]:
    path = store.root / LOCK_KEY
    handle = _locked_file(store, path)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):  # an output in which nothing was begun leaves no trace
            if os.listdir(store.root) == [LOCK_KEY]:
                path.unlink()
                store.root.rmdir()
        os.close(handle)


def _locked_file(store: LocalStore, path: Path) -> int:
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
                raise _held(store, os.pread(handle, 100, 0).decode(errors="replace").strip())
        except BaseException:
            os.close(handle)
            raise
        with suppress(OSError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)  # its last holder removed it meanwhile: another process may lock another file of this name


class _ObjectLease:
    """The lease object's life: put once, renewed by a thread, deleted."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._owner, self._etag = uuid.uuid4().hex, ""
        self._stop, self._one_renewal = threading.Event(), threading.Lock()
        self._lost, self._renewed = "", 0.0
        self._thread = threading.Thread(target=self._renew, name="mmpr-lease", daemon=True)

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
                raise _held(self._store, f"its lease was renewed {present.age:.0f} s ago")
            if present.age >= LEASE_SECONDS or seen_dead(present.holder):
                etag = self._put({"IfMatch": present.etag})
                if etag is None:
                    raise _held(self._store, "it took the lease just now")
                break
            if not watched:
                _log.warning(
                    "%s: a build left its lease, or is at work. Waiting at most %.0f s to see which.",
                    self._store.url,
                    LEASE_SECONDS - present.age,
                )
            watched = present.etag
            time.sleep(LOOK_SECONDS)
        self._etag, self._renewed = etag, time.monotonic()
        # No more patience: the thread has its own way to wait, and a build that ends must not wait for its lease.
        self._store = S3Store(self._store.url, patience=0.0)
        self._thread.start()

    def check(self) -> None:
        if time.monotonic() - self._renewed > LEASE_SECONDS:  # this process was paused: the thread may not know yet
            with self._one_renewal, suppress(StoreError):
                present = self.present()
                if present is None or present.etag != self._etag:
                    self._lost = self._lost or "another process took it"
        if self._lost:
            raise StoreError(
                f"The lease on {self._store.url} was lost: {self._lost}", remedy="Run the same command again."
            )

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(StoreError):  # what cannot be released lapses
            if not self._lost and (present := self.present()) and present.etag == self._etag:
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
        store = self._store
        try:
            head, body = store.ask(LOCK_KEY, lambda: _answer_and_body(store))
        except MissingKeyError:
            return None
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        try:
            holder = json.loads(body).get("holder")
        except (ValueError, AttributeError):
            holder = None
        return _Present((now - head["LastModified"]).total_seconds(), head["ETag"], holder)

    def _renew(self) -> None:
        """Renew until stopped. A store that is away cannot give the lease to anybody else, so it is waited for; the
        condition on the renewal tells, when it is back, whether somebody was quicker."""
        wait = RENEWAL_SECONDS
        while not self._stop.wait(wait):
            try:
                with self._one_renewal:
                    etag = self._put({"IfMatch": self._etag})
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
    """A lease that lies in a store: seconds since it was put or renewed, its ETag, who put it."""

    age: float
    etag: str
    holder: object


def _answer_and_body(store: S3Store) -> tuple[dict[str, Any], bytes]:
    answer = store.client.get_object(Bucket=store.bucket, Key=store.name(LOCK_KEY))
    return answer, answer["Body"].read()


def _held(store: Store, by: str) -> StoreError:
    return StoreError(
        f"Another build is at work on {store.url} ({by or 'no details'}).",
        remedy="Wait for it or stop it; two builds cannot share an output.",
    )
