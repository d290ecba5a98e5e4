"""An exclusive lease on an output in an object store: an object put under conditions and renewed.

The lease of a holder that dies lapses after `LEASE_SECONDS`, and at once for a build on the same machine. Time is the
server's: no two machines' clocks are compared.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.masking import logger
from mmpr_pipeline.storage.holder import seen_alive, seen_dead, this_process
from mmpr_pipeline.storage.s3_retry import patience
from mmpr_pipeline.storage.store import LOCK_KEY, MissingKeyError, held

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
