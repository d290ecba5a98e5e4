"""A store in a local (or mounted) directory: atomic by rename and link, durable by fsync."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage.journal import FileLog
from mmpr_pipeline.storage.lease import file_lease, is_locked
from mmpr_pipeline.storage.store import LOCK_KEY, MISSING_REMEDY, MissingKeyError, Store, check_key

UNFINISHED = ".unfinished-"
LEAST_FREE_BYTES = 64 << 20

_REMEDIES = {
    errno.EACCES: "Give an output that you may write to, or correct its permissions.",
    errno.EPERM: "Give an output that you may write to, or correct its permissions.",
    errno.EROFS: "The file system is mounted read-only: give another output.",
    errno.ENOSPC: "Free some space or give another output, then run the same command again: it goes on.",
    errno.EDQUOT: "Your quota is used up: free some space, then run the same command again: it goes on.",
    errno.EFBIG: "A file may not grow that large here: raise `ulimit -f`, or build with more shards.",
    errno.ENOTDIR: "A part of the path is a file: give a directory.",
    errno.EEXIST: "A part of the path is a file: give a directory.",
    errno.EISDIR: "A directory lies where a file should be: give another output.",
    errno.EMFILE: "Too many open files: raise `ulimit -n`.",
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore(Store):
    """A directory. Missing folders are made on the way of the first write."""

    def __init__(self, path: str | Path) -> None:
        self.folder = self.root = Path(path).expanduser().absolute()
        self.url = str(self.root)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.root / check_key(key)

    def read(self, key: str) -> bytes:
        with _explained(self.path(key)):
            return self.path(key).read_bytes()

    def exists(self, key: str) -> bool:
        with _explained(self.path(key)):
            return self.path(key).is_file()

    def list(self, prefix: str = "") -> list[str]:
        start = self.root / prefix.rpartition("/")[0]
        keys: list[str] = []
        failed: list[OSError] = []
        with _explained(start):
            for folder, folders, files in os.walk(start, onerror=failed.append):
                base = Path(folder).relative_to(self.root).as_posix()
                above = "" if base == "." else f"{base}/"
                folders[:] = [n for n in folders if not n.startswith(".") and f"{above}{n}".startswith(prefix)]
                keys += [f"{above}{n}" for n in files if not n.startswith(".") and f"{above}{n}".startswith(prefix)]
            if other := next((error for error in failed if not isinstance(error, FileNotFoundError)), None):
                raise other
        return sorted(keys)

    def size(self, key: str) -> int:
        with _explained(self.path(key)):
            return self.path(key).stat().st_size

    def write(self, key: str, data: bytes) -> None:
        target = self.path(key)
        with _explained(target), _unfinished(target, data) as temporary:
            os.replace(temporary, target)
            _sync(target.parent)

    def create(self, key: str, data: bytes) -> bool:
        target = self.path(key)
        with _explained(target):
            if target.exists():
                return False
            with _unfinished(target, data) as temporary:
                try:
                    os.link(temporary, target)
                    created = True
                except FileExistsError:
                    created = False
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    # A file system without hard links (exFAT, some mounts): creators in this folder take turns.
                    with open(target.parent / f"{LOCK_KEY}-create", "ab") as turn:
                        fcntl.flock(turn, fcntl.LOCK_EX)
                        created = not target.exists()
                        if created:
                            os.replace(temporary, target)
            _sync(target.parent)
        return created

    def put_file(self, key: str, local: Path) -> None:
        target = self.path(key)
        with _explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(local)
            try:
                os.replace(local, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with _unfinished(target, b"") as temporary:  # from another file system: copy beside, then rename
                    shutil.copyfile(local, temporary)
                    _sync(temporary)
                    os.replace(temporary, target)
            _sync(target.parent)

    def local_copy(self, key: str) -> Path:
        if not self.exists(key):
            raise _missing(self.path(key))
        return self.path(key)

    def fetch(self, key: str, folder: Path) -> Path:
        return self.local_copy(key)

    def delete(self, key: str) -> None:
        with _explained(self.path(key)):
            self.path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        super().delete_prefix(prefix)
        if prefix.endswith("/"):  # a whole folder: leave no empty ones behind
            for folder, _, _ in sorted(os.walk(self.root / prefix.rstrip("/")), reverse=True):
                with suppress(OSError):
                    os.rmdir(folder)

    def lines(self, key: str) -> Iterator[bytes]:
        with suppress(MissingKeyError), _explained(self.path(key)), open(self.path(key), "rb") as file:
            yield from file

    def append(self, key: str, line: bytes) -> None:
        with _explained(self.path(key)):
            try:
                file = os.open(self.path(key), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:
                return super().append(key, line)
            try:
                size = os.fstat(file).st_size
                torn = bool(size) and os.pread(file, 1, size - 1) != b"\n"
                if not torn:
                    os.write(file, line)
                    os.fsync(file)
            finally:
                os.close(file)
            if torn:
                super().append(key, line)

    def open_log(self, prefix: str, attempt: int, done: str | None = None) -> FileLog:
        return FileLog(self.root, check_key(prefix), attempt)

    def lease(self) -> AbstractContextManager[Callable[[], None]]:
        """A file lock, which the kernel releases however its holder dies: it cannot be lost."""
        return file_lease(self.root)

    def is_held(self) -> bool:
        return is_locked(self.root)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        with _explained(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.root))
        try:
            with room_explained(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check_writable(self) -> None:
        with _explained(self.root), _unfinished(self.root / "probe", b"probe"):
            free = shutil.disk_usage(self.root).free
        if free < LEAST_FREE_BYTES:
            raise StoreError(
                f"The disk of {self.root} is full: {free >> 20} MB are free.", remedy=_REMEDIES[errno.ENOSPC]
            )

    def left_over(self) -> set[str]:
        found = set()
        for folder, folders, files in os.walk(self.root):
            base = Path(folder).relative_to(self.root)
            found |= {(base / name).as_posix() for name in (*folders, *files) if name.startswith(UNFINISHED)}
            folders[:] = [name for name in folders if not name.startswith(UNFINISHED)]
        return found

    def sweep(self) -> None:
        for name in self.left_over():
            path = self.root / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def _unfinished(target: Path, data: bytes) -> Iterator[Path]:
    """A complete, synced, hidden file beside `target`, gone at the end if it was not renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{UNFINISHED}{uuid.uuid4().hex}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Force a file's or a folder's content to disk; some mounts cannot sync folders."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


def _missing(path: Path) -> MissingKeyError:
    return MissingKeyError(f"{path} does not exist.", remedy=MISSING_REMEDY)


@contextmanager
def room_explained(folder: Path, remedy: str | None = None) -> Iterator[None]:
    """Turn the errors of a disk that is full, met by whoever writes files of his own there, into StoreErrors."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StoreError(f"{folder}: {os.strerror(error.errno)}.", remedy=remedy or _REMEDIES[error.errno]) from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's errors into StoreErrors that say what to do."""
    try:
        yield
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{path}: {reason}.", remedy=_REMEDIES.get(error.errno or 0)) from error
