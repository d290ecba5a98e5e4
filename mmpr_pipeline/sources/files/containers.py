"""Files inside of other files: rows in zips, also in zips within zips.

`annotations.zip!/annotations/m3cot.jsonl` is the address of a member, `images.zip_*` that of the parts of a split file
(see `split_files`). Nothing is unpacked: a member is a stream over a range of its archive.
"""

from __future__ import annotations

import bisect
import io
import re
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, BinaryIO, cast

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import SourceFile
from mmpr_pipeline.sources.files.split_files import FETCH_AGAIN, JoinedFile, MissingPart, joined
from mmpr_pipeline.sources.files.zips import DEFLATED, LOCAL, STORED, Member, ZipDirectory, read_directory, safe_name

INSIDE = "!/"
"""What stands between an archive and the name of a member."""

CHUNK = 1 << 20
SNAPSHOT_EVERY = 4 << 20
"""Bytes between two places from which inflating can go on; a snapshot takes about 40 kB."""


@dataclass(frozen=True)
class MemberFile:
    """A member of a zip file as a file of its own: seekable, whether it is stored or deflated."""

    archive: SourceFile
    name: str
    member: Member = field(compare=False)

    @property
    def size(self) -> int:
        """Size in bytes, unpacked."""
        return self.member.size

    def open(self) -> BinaryIO:
        """See SourceFile."""
        if self.member.encrypted or self.member.method not in (STORED, DEFLATED):
            raise SourceError(f"{self.name} is packed in a way that is not read.", remedy="Unpack the archive.")
        return io.BufferedReader(cast(io.RawIOBase, _MemberStream(self)), CHUNK)

    def local(self) -> Any:
        """A member is nowhere on its own."""
        raise SourceError(f"{self.name}: this format is read from whole files only.", remedy="Unpack the archive.")


class _MemberStream(io.RawIOBase):
    """The bytes of a member; of a deflated one from the nearest snapshot that this process took on its way.

    What is read in one go from the first byte to the last is held against the member's checksum.
    """

    def __init__(self, file: MemberFile) -> None:
        self._name, self._member = file.name, file.member
        self._stream = file.archive.open()
        self._stream.seek(file.member.offset)
        head = self._stream.read(LOCAL.size)
        if len(head) < LOCAL.size or head[:4] != b"PK\3\4":
            raise self._damaged("no member lies there")
        *_, name, extra = LOCAL.unpack(head)
        self._begin = file.member.offset + LOCAL.size + name + extra
        self._at = self._crc = self._crc_at = 0
        self._snapshots = _snapshots(cast(Any, file), stamp(file))
        self._out, self._in, self._inflate = 0, 0, zlib.decompressobj(-zlib.MAX_WBITS)
        self._ready = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._member.size}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._member.size - self._at)
        if wanted <= 0:
            return 0
        if self._member.method == STORED:
            self._stream.seek(self._begin + self._at)
            data = self._stream.read(wanted)
        else:
            data = self._inflated(wanted)
        if not data:
            raise self._damaged("it ends too early")
        if self._at == self._crc_at:
            self._crc, self._crc_at = zlib.crc32(data, self._crc), self._at + len(data)
            if self._crc_at == self._member.size and self._crc != self._member.crc:
                raise self._damaged("it is not what its checksum says")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _inflated(self, wanted: int) -> bytes:
        if not self._out <= self._at:
            self._out, self._in, self._inflate, self._ready = 0, 0, zlib.decompressobj(-zlib.MAX_WBITS), b""
        out, consumed, state = self._snapshots.before(self._at)
        if state and out > self._out + len(self._ready):
            self._out, self._in, self._inflate, self._ready = out, consumed, state.copy(), b""
        while self._out + len(self._ready) <= self._at:
            self._out += len(self._ready)
            self._snapshots.take(self._out, self._in, self._inflate)
            self._ready = self._more()
            if not self._ready:
                return b""
        start = self._at - self._out
        return self._ready[start : start + wanted]

    def _more(self) -> bytes:
        """The next inflated bytes, about a chunk of them; nothing at the end."""
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail
            if not data:
                self._stream.seek(self._begin + self._in)
                data = self._stream.read(min(CHUNK // 4, self._member.packed - self._in))
                self._in += len(data)
                if not data:
                    return b""
            try:
                made = self._inflate.decompress(data, CHUNK)
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            if made:
                return made
        return b""

    def _damaged(self, why: str) -> SourceError:
        return SourceError(f"{self._name} is damaged: {why}.", remedy=FETCH_AGAIN)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Snapshots:
    """Where in a deflated member inflating can go on, in this process."""

    def __init__(self) -> None:
        self._lock, self._places = threading.Lock(), [0]
        self._states: list[tuple[int, Any]] = [(0, None)]

    def before(self, out: int) -> tuple[int, int, Any]:
        """The last place that is not after `out`: bytes made so far, bytes taken so far, the state."""
        with self._lock:
            number = bisect.bisect_right(self._places, out) - 1
            return self._places[number], *self._states[number]

    def take(self, out: int, taken: int, state: Any) -> None:
        """Keep a state, where none is near."""
        with self._lock:
            if out - self._places[-1] >= SNAPSHOT_EVERY:
                self._places.append(out)
                self._states.append((taken, state.copy()))


@lru_cache(maxsize=32)
def _snapshots(file: Any, stamped: int) -> _Snapshots:
    return _Snapshots()


def stamp(file: SourceFile) -> int:
    """What changes when a local file is written anew; 0 for what stays as it is."""
    if isinstance(file, JoinedFile):
        return hash(tuple(stamp(part) for part in file.parts if part))
    if isinstance(file, MemberFile):
        return stamp(file.archive)
    path = getattr(file, "path", None)
    return path.stat().st_mtime_ns if path else 0


def directory_of(file: SourceFile) -> ZipDirectory:
    """The list of members of a zip file, kept for later calls of this process. Raises SourceError."""
    return _directory_of(cast(Any, file), stamp(file))


@lru_cache(maxsize=64)
def _directory_of(file: Any, stamped: int) -> ZipDirectory:
    return fresh_directory(file)


def fresh_directory(file: SourceFile) -> ZipDirectory:
    """The list of members of a zip file, read now. Raises SourceError."""
    try:
        with file.open() as stream:
            return read_directory(stream, file.size)
    except (struct.error, ValueError, OSError) as error:
        raise _no_zip(file, str(error)) from None
    except MissingPart as error:
        raise _no_zip(file, str(error).splitlines()[0]) from None


def _no_zip(file: SourceFile, why: str) -> SourceError:
    parts = f" Is a part missing after {file.names[-1]}?" if isinstance(file, JoinedFile) else ""
    return SourceError(
        f"{file.name} cannot be read as a zip archive: {why}.{parts}",
        remedy="Fetch it again, or unpack it and name its folder as image_root.",
    )


def member_file(archive: SourceFile, name: str) -> MemberFile:
    """A member as a file. Raises SourceError where the archive has none of this name."""
    member = directory_of(archive).member(safe_name(name) or "")
    if member is None or member.link:
        raise SourceError(f"{archive.name} has no member {name[:200]}.", remedy="Correct the paths in the declaration.")
    return MemberFile(archive, f"{archive.name}{INSIDE}{name}", member)


def at_address(pattern: str, listed: Callable[[str], Sequence[SourceFile]], exact: bool = False) -> list[SourceFile]:
    """The files at an address, whose pieces may be globs, unless `exact`; `listed` gives those of its first piece.

    Raises SourceError where nothing is there.
    """
    outer, *inner = pattern.split(INSIDE)
    files = joined(listed(outer))
    for piece in inner:
        found: list[SourceFile] = []
        for file in files:
            names = [piece] if exact or not re.search(r"[*?\[]", piece) else sorted(
                name for name in directory_of(file).places if fnmatchcase(name, piece)
            )  # fmt: skip
            found += [member_file(file, name) for name in names]
        if not found:
            raise SourceError(f"Nothing is at {pattern}.", remedy="Correct the paths in the declaration.")
        files = found
    return files
