"""An append-only log of JSON records that outlives any kill: the memory of an unfinished shard.

Each writer opens a segment of its own (`PREFIX/000003-000000.jsonl` is attempt 3), so no writer ever continues behind a
line that another one tore. Each line begins with a checksum of its record, keyed with the digest of the plan that it
was written for. The reader takes all segments in order and skips what is torn, damaged, or of another plan.

The lines go into one file an attempt where the store is a folder (`FileLog`), and into small objects that are never
rewritten where it holds whole objects (`ObjectLog`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic_core import PydanticSerializationError, from_json, to_json

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage.store import Log, Store, segment

CHECKSUM_BYTES = 8
_SEGMENT = re.compile(r"(\d{6})-\d{6}\.jsonl")


class JournalWriter:
    """One attempt's writer; not for several threads at once."""

    def __init__(self, journal: Journal, log: Log) -> None:
        self._journal, self._log = journal, log

    def append(self, record: Any) -> None:
        """Log one record: a dict of JSON data, or one that holds pydantic models (they are written as their fields)."""
        # The line of a record: checksum, space, JSON, newline.
        try:
            body = to_json(record)
        except PydanticSerializationError:  # a lone surrogate in a model's text has no UTF-8: keep it as an escape
            body = json.dumps(record, separators=(",", ":"), default=lambda model: model.model_dump()).encode()
        self._log.append(_checksum(body, self._journal.plan) + b" " + body + b"\n")

    def flush(self) -> None:
        """Return only when every appended record would outlive this machine (local: fsync; S3: put)."""
        self._log.flush()

    def close(self) -> None:
        """Flush and end the attempt."""
        self._log.close()

    def forget(self) -> None:
        """End the attempt and delete the journal: its work is finished. Nothing of it is forced to disk for that."""
        self._log.abandon()
        self._journal.store.delete_prefix(f"{self._journal.prefix}/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
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
            for line in self.store.lines(key):
                record = _record(line, self.plan)
                if record is None:
                    self.torn += 1
                else:
                    yield record

    def open(self) -> JournalWriter:
        """A writer for a new attempt. On a local store what `append` returned for outlives a kill -9 of the process;
        on S3 the last seconds may be lost with it (see `ObjectLog`)."""
        names = (_SEGMENT.fullmatch(key.rpartition("/")[2]) for key in self.store.list(f"{self.prefix}/"))
        attempt = 1 + max((int(name[1]) for name in names if name), default=-1)
        return JournalWriter(self, self.store.open_log(self.prefix, attempt, self.done))


def _checksum(body: bytes, plan: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES, key=plan).hexdigest().encode()


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


class FileLog(Log):
    """What `append` returned for outlives a kill -9 of the process: the kernel has it."""

    def __init__(self, root: Path, prefix: str, attempt: int) -> None:
        self._name, self._size = f"{root}/{prefix}", 0
        try:
            while True:
                path = root / segment(prefix, attempt, 0)
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                    break
                except FileExistsError:
                    attempt += 1
                except FileNotFoundError:  # the folder went at this very moment, with a shard that was finished
                    continue
        except OSError as error:
            raise self._cannot(error) from error

    def append(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)  # a full disk tore the line: the next must not be glued to it
            raise self._cannot(error) from error
        self._size += len(line)

    def flush(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._cannot(error) from error

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

    def _cannot(self, error: OSError) -> StoreError:
        return StoreError(
            f"Cannot write the journal {self._name}: {error.strerror or error}.",
            remedy="Free some space or correct the permissions, then run the same command again: it goes on.",
        )


SEGMENT_BYTES = 8 << 20
SEGMENT_SECONDS = 5.0
"""What was appended is put after this many bytes or seconds, at the latest."""

MOST_BUFFERED_BYTES = 64 << 20
"""Where the store is away for long, appending waits for it from here on."""


class ObjectLog(Log):
    """Lines put by a thread: who appends does not wait for the store. What is younger than `SEGMENT_SECONDS` and within
    `SEGMENT_BYTES` may be lost with the process."""

    def __init__(self, store: Store, prefix: str, attempt: int, done: str | None = None) -> None:
        self._store, self._prefix, self._done = store, prefix, done
        self._attempt, self._part = attempt, 0
        self._lines: list[bytes] = []
        self._size = 0
        self._failed: Exception | None = None
        self._buffer, self._one_put = threading.Lock(), threading.Lock()
        self._full, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._put_now_and_then, name="mmpr-journal", daemon=True)

    def append(self, line: bytes) -> None:
        self._raise_failure()
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
        store = self._store
        while not store.create(key := segment(self._prefix, self._attempt, self._part), data):
            if self._part:
                raise StoreError(f"Two writers share the journal {self._prefix} of {store.url}.")
            self._attempt += 1  # another attempt began at the same moment
        self._part += 1
        # A process that was paused does not notice it. Looked at after the put, because it may be paused before it.
        if self._done and store.exists(self._done):
            store.delete(key)
            raise StoreError(f"{self._done} of {store.url} was finished by another process meanwhile.")

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
