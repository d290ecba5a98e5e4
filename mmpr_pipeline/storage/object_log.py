"""A log on a store of whole objects: lines are buffered and put as small objects that are never rewritten."""

from __future__ import annotations

import threading

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage.store import Log, Store, segment

SEGMENT_BYTES = 8 << 20
SEGMENT_SECONDS = 5.0
"""What was appended is put at the latest after so many bytes and seconds."""

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
