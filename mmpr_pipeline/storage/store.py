"""The interface of a store, and from an address to one.

A store is a flat space of keys (`pairs/pairs-00000-of-00008.arrow`) with whole contents. A key's content is always
complete: readers see the old content, the new one, or none, never a part, whatever dies when. Keys whose last part
starts with a dot belong to the store itself (locks, unfinished files) and are never listed.

A distribution adds a store by an entry point named after its URLs' scheme; it names a class that takes the URL:

    [project.entry-points."mmpr.stores"]
    gs = "my_package:GoogleStore"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self, overload
from urllib.parse import urlsplit

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.registry import Registry

LOCK_KEY = ".lock"


class MissingKeyError(StoreError):
    """The key that was asked for does not exist."""


MISSING_REMEDY = "Of an output, `mmpr verify` names all that is missing, and what to do."


class Log(ABC):
    """One attempt's writer of lines; not for several threads at once."""

    @abstractmethod
    def append(self, line: bytes) -> None:
        """Log one line, with its newline."""

    @abstractmethod
    def flush(self) -> None:
        """Return only when every appended line would outlive this machine (local: fsync; S3: put)."""

    @abstractmethod
    def close(self) -> None:
        """Flush and end the attempt."""

    @abstractmethod
    def abandon(self) -> None:
        """End the attempt without a flush, before the log is deleted."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Store(ABC):
    """One output's files. Safe to use from several threads and processes, and picklable.

    Every method raises StoreError, with a remedy, where the store cannot be read or written. A store of another
    distribution takes its lease and its log from `ObjectLease` and `ObjectLog` if it has conditional puts.
    """

    url: str
    """The directory's absolute path, or `s3://bucket/prefix`, without a trailing slash."""

    folder: Path | None = None
    """The directory on this machine that holds the keys as files; None where there is none."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The whole content. Raises MissingKeyError where the key does not exist."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether the key exists."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """Keys that start with `prefix` (a plain string prefix, as in S3), sorted."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Bytes of the content. Raises MissingKeyError where the key does not exist."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Put `data` in place of whatever the key held, atomically and durably."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Put `data` where nothing is yet; False, and nothing changed, where the key exists already.

        Of several creators at once exactly one gets True.
        """

    @abstractmethod
    def put_file(self, key: str, local: Path) -> None:
        """Like `write`, for a big local file; the file may be moved away."""

    @abstractmethod
    def local_copy(self, key: str) -> Path:
        """A local file with the key's content, only to be read: the file itself, or a cached download."""

    @abstractmethod
    def fetch(self, key: str, folder: Path) -> Path:
        """Like `local_copy`, for one look only: the file itself, or a download into `folder`, which is the caller's."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the key; no error where it does not exist."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key that starts with `prefix`."""
        for key in self.list(prefix):
            self.delete(key)

    def lines(self, key: str) -> Iterator[bytes]:
        """The content's lines, each with its newline; none where the key does not exist, or not any more."""
        try:
            data = self.read(key)
        except MissingKeyError:
            return
        yield from data.splitlines(keepends=True)

    def append(self, key: str, line: bytes) -> None:
        """Add a line to the content, in place of a last line that a crash has torn; durable when this returns.

        One writer at a time, unless the store says otherwise.
        """
        self.write(key, b"".join(whole_lines(self.lines(key))) + line)

    @abstractmethod
    def open_log(self, prefix: str, attempt: int, done: str | None = None) -> Log:
        """A new log segment under `prefix`, of this attempt or of a later one if that exists already.

        `done`: the key whose existence means that the log's work is finished: a writer that wakes up after that must
        leave nothing behind.
        """

    @abstractmethod
    def lease(self) -> AbstractContextManager[Callable[[], None]]:
        """Hold the output alone; raises StoreError where another process holds it.

        Yields a check to call now and then: it raises StoreError where the lease was lost meanwhile.
        """

    @abstractmethod
    def is_held(self) -> bool:
        """Whether a process holds the lease now. Changes nothing, and may be asked at any time.

        Raises StoreError where the store cannot be read.
        """

    @abstractmethod
    def workspace(self) -> AbstractContextManager[Path]:
        """A new local folder from where `put_file` is cheap; removed at the end."""

    @abstractmethod
    def check_writable(self) -> None:
        """Raise StoreError at once where later writes would fail: no permission, a full disk, no bucket, ...."""

    @abstractmethod
    def left_over(self) -> set[str]:
        """What writers left unfinished, or are about to finish: names for a person to read."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what killed writers left unfinished. Only for the holder of the store's lease."""

    def waited_for(self) -> Self:
        """This store, which another process has reached: a server of it that does not answer now is waited for."""
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


def segment(prefix: str, attempt: int, part: int) -> str:
    """Key of a part of an attempt's log; keys sort in the order of writing."""
    return f"{prefix}/{attempt:06d}-{part:06d}.jsonl"


def whole_lines(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines that end with a newline: all but a torn last one."""
    return (line for line in lines if line.endswith(b"\n"))


def held(url: str, by: str) -> StoreError:
    """The error where another process holds the lease on an output; `by`: what is known of that process."""
    return StoreError(
        f"Another build is at work on {url} ({by or 'no details'}).",
        remedy="Wait for it or stop it; two builds cannot share an output.",
    )


@overload
def absolute_url(url: str) -> str: ...


@overload
def absolute_url(url: None) -> None: ...


def absolute_url(url: str | None) -> str | None:
    """A local path made absolute, `~` opened: workers have other working directories. A URL, and None, as they are."""
    return url if url is None or "://" in url else str(Path(url).expanduser().resolve())


def absolute_model(model: str) -> str:
    """A model that is a local folder as its absolute path; any other is the Hub's name, and stays as it is."""
    return absolute_url(model) if Path(model).expanduser().is_dir() else model


def check_key(key: str) -> str:
    """The key, if it is one: relative, with no empty, `.` or `..` part. Raises StoreError else."""
    if not key or any(part in ("", ".", "..") for part in key.split("/")) or "\\" in key or "\0" in key:
        raise StoreError(f"{key!r} is not a valid store key.")
    return key


def hidden(key: str) -> bool:
    """Whether the key belongs to the store itself."""
    return any(part.startswith(".") for part in key.split("/"))


STORES: Registry[Callable[[str], Store]] = Registry(
    "mmpr.stores",
    "store",
    {"file": "mmpr_pipeline.storage.local:LocalStore", "s3": "mmpr_pipeline.storage.s3:S3Store"},
)
"""Stores by the scheme of their URLs."""


def open_store(url: str | Path, known: bool = False) -> Store:
    """The store at a local directory (created when first written to), at `s3://bucket/prefix`, or at the URL of a
    distribution's store.

    S3 takes endpoint, region and credentials from the environment as boto3 does (AWS_ENDPOINT_URL, AWS_PROFILE, ...).
    `known`: another process has reached it already, so a server that does not answer is waited for.
    Nothing is read or written yet. Raises StoreError where no store has such addresses.
    """
    text = str(url)
    scheme = urlsplit(text).scheme if "://" in text else "file"
    if not text or scheme not in STORES.names():
        others = "".join(f", {name}://..." for name in STORES.names() if name not in ("file", "s3"))
        raise StoreError(
            f"Cannot use {text!r} as an output.", remedy=f"Give a directory or s3://bucket/prefix{others}."
        )
    store = STORES.get(scheme)(urlsplit(text).path if text.startswith("file://") else text)
    return store.waited_for() if known else store
