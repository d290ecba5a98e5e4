"""A log in a local directory: one file an attempt, one write call a line."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage.store import Log, segment


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
