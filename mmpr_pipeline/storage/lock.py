"""An exclusive lease on an output: two builds on one output are stopped by it, not by luck.

Local: a file lock, which the kernel releases however its holder dies. S3: an object put under conditions and renewed;
a holder that dies leaves it for at most `LEASE_SECONDS`. Time is the server's: no two machines' clocks are compared.
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
from email.utils import parsedate_to_datetime

from mmpr_pipeline.errors import StoreError
from mmpr_pipeline.storage.local import LocalStore
from mmpr_pipeline.storage.s3 import S3Store
from mmpr_pipeline.storage.store import LOCK_KEY, MissingKeyError, Store

LEASE_SECONDS = 120.0
RENEWAL_SECONDS = 40.0


@contextmanager
def lease(store: Store) -> Iterator[Callable[[], None]]:
    """Hold the output alone; raises StoreError where another process holds it.

    Yields a check to call now and then: it raises StoreError where the lease was lost (S3 unreachable for too long).
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


@contextmanager
def _file_lock(store: LocalStore) -> Iterator[None]:
    path = store.root / LOCK_KEY
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(
            f"Cannot lock {path}: {error.strerror}.", remedy="Give an output that you may write to."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(store, os.pread(handle, 100, 0).decode(errors="replace").strip()) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)  # the file stays: removing it would let two processes lock two files of one name


class _ObjectLease:
    """The lease object's life: put once, renewed by a thread, deleted."""

    def __init__(self, store: S3Store) -> None:
        self._store, self._owner, self._etag = store, uuid.uuid4().hex, ""
        self._stop = threading.Event()
        self._lost = ""
        self._thread = threading.Thread(target=self._renew, name="mmpr-lease", daemon=True)

    def acquire(self) -> None:
        """Take the lease. Raises StoreError where another process holds it."""
        etag = self._put({"IfNoneMatch": "*"})
        if etag is None:
            age, old = self._present()
            if age < LEASE_SECONDS:
                raise _held(self._store, f"its lease was renewed {age:.0f} s ago; it lapses after {LEASE_SECONDS:.0f}")
            etag = self._put({"IfMatch": old})
        if etag is None:
            raise _held(self._store, "it took the lease just now")
        self._etag = etag
        self._thread.start()

    def _put(self, condition: dict[str, str]) -> str | None:
        with self._store.explained(LOCK_KEY):
            return self._store.put_if(LOCK_KEY, self._content(), condition)

    def check(self) -> None:
        if self._lost:
            raise StoreError(
                f"The lease on {self._store.url} was lost: {self._lost}", remedy="Run the same command again."
            )

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(StoreError):  # what cannot be released lapses
            if not self._lost and self._present()[1] == self._etag:
                self._store.delete(LOCK_KEY)

    def _content(self) -> bytes:
        return json.dumps({"owner": self._owner, "renewal": uuid.uuid4().hex}).encode()

    def _present(self) -> tuple[float, str]:
        """Age of the lease in seconds, by the server's own clock, and its ETag."""
        try:
            with self._store.explained(LOCK_KEY):
                head = self._store.client.head_object(Bucket=self._store.bucket, Key=self._store.name(LOCK_KEY))
        except MissingKeyError:
            return 0.0, ""  # released at this very moment
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        return (now - head["LastModified"]).total_seconds(), head["ETag"]

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(RENEWAL_SECONDS):
            try:
                etag = self._put({"IfMatch": self._etag})
                if etag is None:
                    self._lost = "another process took it"
                    return
                self._etag, renewed = etag, time.monotonic()
            except Exception as error:
                if time.monotonic() - renewed > LEASE_SECONDS * 0.8:
                    self._lost = f"it could not be renewed: {error}"
                    return


def _held(store: Store, by: str) -> StoreError:
    return StoreError(
        f"Another build is at work on {store.url} ({by or 'no details'}).",
        remedy="Wait for it or stop it; two builds cannot share an output.",
    )
