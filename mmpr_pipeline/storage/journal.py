"""An append-only log of JSON records that outlives any kill: the memory of an unfinished shard.

Each writer opens a segment of its own (`PREFIX/000003-000000.jsonl` is attempt 3), so no writer ever continues behind a
line that another one tore. Each line begins with a checksum of its record, keyed with the digest of the plan that it
was written for. The reader takes all segments in order and skips what is torn, damaged, or of another plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage.local import LocalStore
from mmpr_pipeline.storage.store import MissingKeyError, Store

SEGMENT_BYTES = 8 << 20
SEGMENT_SECONDS = 5.0
"""On an object store: what was appended is put at the latest after so many bytes and seconds."""

CHECKSUM_BYTES = 8
_SEGMENT = re.compile(r"(\d{6})-\d{6}\.jsonl")

MOST_BUFFERED_BYTES = 64 << 20
"""Where the store is away for long, appending waits for it from here on."""


class JournalWriter(ABC):
    """One attempt's writer; not for several threads at once."""

    @abstractmethod
    def append(self, record: Any) -> None:
        """Log one record: a dict of JSON data, or one that holds pydantic models (they are written as their fields)."""

    @abstractmethod
    def flush(self) -> None:
        """Return only when every appended record would outlive this machine (local: fsync; S3: put)."""

    @abstractmethod
    def close(self) -> None:
        """Flush and end the attempt."""

    @abstractmethod
    def abandon(self) -> None:
        """End the attempt without a flush, before the journal is deleted: for a shard that is finished."""

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Journal:
    """The log under one prefix of a store.

    `plan`: digest of the plan that the records belong to; lines of any other count as torn. `done`: the key whose
    existence means that the log's work is finished; an attempt that wakes up after that leaves nothing behind.
    """

    def __init__(self, store: Store, prefix: str, plan: str = "", done: str | None = None) -> None:
        self.store = store
        self.prefix = prefix.rstrip("/")
        self.plan, self.done = plan.encode(), done
        self.torn = 0
        """Lines skipped by the last `read`: torn by a kill, damaged, or of another plan."""

    def read(self) -> Iterator[dict[str, Any]]:
        """Every whole record, oldest attempt first, in the order of appending; one line at a time in memory.

        A segment that vanishes meanwhile is no error: a worker that outlived its build has just finished the shard.
        """
        self.torn = 0
        for key in self.store.list(f"{self.prefix}/"):
            for line in _lines(self.store, key):
                record = _record(line, self.plan)
                if record is None:
                    self.torn += 1
                else:
                    yield record

    def open(self) -> JournalWriter:
        """A writer for a new attempt. On a local store what `append` returned for outlives a kill -9 of the process;
        on S3 what is younger than `SEGMENT_SECONDS` and within `SEGMENT_BYTES` may be lost with it."""
        if isinstance(self.store, LocalStore):
            return _LocalWriter(self, self.store, self._next_attempt())
        return _ObjectWriter(self, self._next_attempt())

    def delete(self) -> None:
        """Forget everything: the shard is finished."""
        self.store.delete_prefix(f"{self.prefix}/")

    def _next_attempt(self) -> int:
        names = (_SEGMENT.fullmatch(key.rpartition("/")[2]) for key in self.store.list(f"{self.prefix}/"))
        return 1 + max((int(name[1]) for name in names if name), default=-1)


def _segment(prefix: str, attempt: int, part: int) -> str:
    return f"{prefix}/{attempt:06d}-{part:06d}.jsonl"


def _checksum(body: bytes, plan: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES, key=plan).hexdigest().encode()


def _encode(record: Any, plan: bytes) -> bytes:
    """The line of a record: checksum, space, JSON, newline."""
    try:
        body = to_json(record)
    except PydanticSerializationError:  # a lone surrogate in a model's text has no UTF-8: keep it as an escape
        body = json.dumps(record, separators=(",", ":"), default=lambda model: model.model_dump()).encode()
    return _checksum(body, plan) + b" " + body + b"\n"


def _record(line: bytes, plan: bytes) -> dict[str, Any] | None:
    """The record of a line; None where it is torn, damaged or of another plan."""
    if not line.endswith(b"\n"):
        return None
    body = line[:-1]
    if not body.startswith(b"{"):  # only the first versions wrote lines without a checksum: no hex digit is a brace
        check, _, body = body.partition(b" ")
        if check != _checksum(body, plan):
            return None
    try:
        record = from_json(body)
    except ValueError:
        try:
            record = json.loads(body)
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _lines(store: Store, key: str) -> Iterator[bytes]:
    if isinstance(store, LocalStore):
        try:
            with open(store.path(key), "rb") as file:
                yield from file
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"Cannot read the journal {store.path(key)}: {error}") from error
        return
    try:
        data = store.read(key)
    except MissingKeyError:
        return
    yield from data.splitlines(keepends=True)


class _LocalWriter(JournalWriter):
    """One file, one write call a record: the kernel has it when `append` returns."""

    def __init__(self, journal: Journal, store: LocalStore, attempt: int) -> None:
        self._journal, self._size = journal, 0
        try:
            self._file = self._open_new(store, journal.prefix, attempt)
        except OSError as error:
            raise _cannot(journal, error) from error

    @staticmethod
    def _open_new(store: LocalStore, prefix: str, attempt: int) -> int:
        while True:
            path = store.path(_segment(prefix, attempt, 0))
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                attempt += 1
            except FileNotFoundError:  # the folder went at this very moment, with a shard that was finished
                continue

    def append(self, record: Any) -> None:
        line = _encode(record, self._journal.plan)
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)  # a full disk tore the line: the next must not be glued to it
            raise _cannot(self._journal, error) from error
        self._size += len(line)

    def flush(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise _cannot(self._journal, error) from error

    def close(self) -> None:
        if self._file >= 0:
            try:
                self.flush()
            finally:
                self.abandon()

    def abandon(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class _ObjectWriter(JournalWriter):
    """Buffered lines, put as small objects that are never rewritten, by a thread: the shard does not wait for them."""

    def __init__(self, journal: Journal, attempt: int) -> None:
        self._journal, self._attempt, self._part = journal, attempt, 0
        self._lines: list[bytes] = []
        self._size = 0
        self._failed: Exception | None = None
        self._buffer, self._one_put = threading.Lock(), threading.Lock()
        self._full, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._put_now_and_then, name="mmpr-journal", daemon=True)

    def append(self, record: Any) -> None:
        self._raise_failure()
        line = _encode(record, self._journal.plan)
        with self._buffer:
            self._lines.append(line)
            self._size += len(line)
        if not self._thread.ident:
            self._thread.start()
        if self._size >= MOST_BUFFERED_BYTES:  # the store is slower than the engines: memory must not pay for it
            self.flush()
        elif self._size >= SEGMENT_BYTES:
            self._full.set()

    def flush(self) -> None:
        self._raise_failure()
        with self._one_put:
            with self._buffer:
                lines, self._lines, self._size = self._lines, [], 0
            try:
                if lines:
                    self._put(b"".join(lines))
            except Exception as error:
                self._failed = error  # these lines are lost: nothing may be used that is appended after them
                raise

    def close(self) -> None:
        self._ended.set()
        self._full.set()
        if self._thread.ident:
            self._thread.join()
        self.flush()

    def abandon(self) -> None:
        with self._buffer:
            self._lines, self._size = [], 0
        self._ended.set()
        self._full.set()
        if self._thread.ident:
            self._thread.join()
        self._failed = None

    def _put(self, data: bytes) -> None:
        journal = self._journal
        store = journal.store
        while not store.create(key := _segment(journal.prefix, self._attempt, self._part), data):
            if self._part:
                raise StoreError(f"Two writers share the journal {journal.prefix} of {store.url}.")
            self._attempt += 1  # another attempt began at the same moment
        self._part += 1
        # A process that was paused does not notice it. Looked at after the put, because it may be paused before it.
        if journal.done and store.exists(journal.done):
            store.delete(key)
            raise StoreError(f"{journal.done} of {store.url} was finished by another process meanwhile.")

    def _put_now_and_then(self) -> None:
        while not self._ended.is_set():
            self._full.wait(SEGMENT_SECONDS)
            self._full.clear()
            try:
                self.flush()
            except Exception:
                return  # told at the next call

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed


def _cannot(journal: Journal, error: OSError) -> StoreError:
    return StoreError(
        f"Cannot write the journal {journal.store.url}/{journal.prefix}: {error.strerror or error}.",
        remedy="Free some space or correct the permissions, then run the same command again to resume.",
    )
