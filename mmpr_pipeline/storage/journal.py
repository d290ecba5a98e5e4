"""An append-only log of JSON records that outlives any kill: the memory of an unfinished shard.

Each writer opens a segment of its own (`PREFIX/000003-000000.jsonl` is attempt 3), so no writer ever continues behind a
line that another one tore. Each line begins with a checksum of its record, keyed with the digest of the plan that it
was written for. The reader takes all segments in order and skips what is torn, damaged, or of another plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Self

from pydantic_core import PydanticSerializationError, from_json, to_json

from mmpr_pipeline.storage.store import Log, Store

CHECKSUM_BYTES = 8
_SEGMENT = re.compile(r"(\d{6})-\d{6}\.jsonl")


class JournalWriter:
    """One attempt's writer; not for several threads at once."""

    def __init__(self, log: Log, plan: bytes) -> None:
        self._log, self._plan = log, plan

    def append(self, record: Any) -> None:
        """Log one record: a dict of JSON data, or one that holds pydantic models (they are written as their fields)."""
        # The line of a record: checksum, space, JSON, newline.
        try:
            body = to_json(record)
        except PydanticSerializationError:  # a lone surrogate in a model's text has no UTF-8: keep it as an escape
            body = json.dumps(record, separators=(",", ":"), default=lambda model: model.model_dump()).encode()
        self._log.append(_checksum(body, self._plan) + b" " + body + b"\n")

    def flush(self) -> None:
        """Return only when every appended record would outlive this machine (local: fsync; S3: put)."""
        self._log.flush()

    def close(self) -> None:
        """Flush and end the attempt."""
        self._log.close()

    def abandon(self) -> None:
        """End the attempt without a flush, before the journal is deleted: for a shard that is finished."""
        self._log.abandon()

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
        on S3 the last seconds may be lost with it (see `object_log`)."""
        names = (_SEGMENT.fullmatch(key.rpartition("/")[2]) for key in self.store.list(f"{self.prefix}/"))
        return JournalWriter(
            self.store.open_log(
                self.prefix, (1 + max((int(name[1]) for name in names if name), default=-1)), self.done
            ),
            self.plan,
        )

    def delete(self) -> None:
        """Forget everything: the shard is finished."""
        self.store.delete_prefix(f"{self.prefix}/")


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
