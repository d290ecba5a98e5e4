"""Files inside of other files: zips that were split into parts, and rows in zips, also in zips within zips.

`annotations.zip!/annotations/m3cot.jsonl` is the address of a member, `images.zip_*` that of the parts
`images.zip_aa`, `images.zip_ab` ... as one file. Nothing is unpacked: a member is a stream over a range of its archive.
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
from mmpr_pipeline.sources.files.zips import DEFLATED, LOCAL, STORED, Member, ZipDirectory, read_directory, safe_name

INSIDE = "!/"
"""What stands between an archive and the name of a member."""

SPLIT = re.compile(r"(?P<whole>.+\.zip)(?P<sign>[_.](?:part)?)(?P<part>[a-z]{2,3}|\d{2,4})", re.IGNORECASE)
"""The name of one part of a split zip file: `x.zip_aa`, `x.zip.001`, `x.zip.partaa`."""

CHUNK = 1 << 20
SNAPSHOT_EVERY = 4 << 20
"""Bytes between two places from which inflating can go on; a snapshot takes about 40 kB."""

_AGAIN = "Fetch it again; rows that need nothing of it can be read without it."


class MissingPart(SourceError):
    """Bytes of a split file that are not there."""


@dataclass(frozen=True)
class JoinedFile:
    """The parts of a split file, one behind the other; all but the last have `stride` bytes, whatever is left of them.

    A part that is missing, or shorter than it was, is a hole: reading there raises MissingPart, elsewhere all is well.
    """

    name: str
    parts: tuple[SourceFile | None, ...]
    names: tuple[str, ...]
    stride: int

    @property
    def size(self) -> int:
        """Size in bytes, holes included."""
        last = self.parts[-1]
        return (len(self.parts) - 1) * self.stride + (last.size if last else 0)

    def open(self) -> BinaryIO:
        """See SourceFile. Parts are opened when they are first read."""
        return cast(BinaryIO, _JoinedStream(self))

    def local(self) -> Any:
        """A split file is nowhere whole."""
        raise SourceError(f"{self.name} is split; this format is read from whole files only.", remedy="Join its parts.")

    def part_at(self, offset: int) -> str:
        """The name of the part in which a byte lies."""
        return self.names[min(offset // self.stride, len(self.names) - 1)]


class _JoinedStream(io.RawIOBase):
    def __init__(self, file: JoinedFile) -> None:
        self._file, self._at = file, 0
        self._streams: dict[int, BinaryIO] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = self._file.size - self._at
        left = max(left, 0) if size is None or size < 0 else max(min(size, left), 0)
        found = bytearray()
        while left:
            number = min(self._at // self._file.stride, len(self._file.parts) - 1)
            within = self._at - number * self._file.stride
            last = number == len(self._file.parts) - 1
            length = left if last else min(left, self._file.stride - within)
            try:
                found += self._part(number, within, length)
            except MissingPart:
                if found:  # what comes before a hole is still good
                    break
                raise
            self._at += length
            left -= length
        return bytes(found)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _part(self, number: int, within: int, length: int) -> bytes:
        part, name = self._file.parts[number], self._file.names[number]
        if part is None:
            raise MissingPart(f"{name} is missing.", remedy=_AGAIN)
        if number not in self._streams:
            self._streams[number] = part.open()
        stream = self._streams[number]
        stream.seek(within)
        data = bytearray()
        while len(data) < length and (more := stream.read(length - len(data))):
            data += more
        if len(data) < length:
            raise MissingPart(f"{name} ends after {part.size} bytes, before what is wanted of it.", remedy=_AGAIN)
        return bytes(data)

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        super().close()


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
        return SourceError(f"{self._name} is damaged: {why}.", remedy=_AGAIN)

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


def joined(files: Sequence[SourceFile]) -> list[SourceFile]:
    """The files, those that are parts of one split file as that file."""
    found: list[SourceFile] = []
    groups: dict[str, list[SourceFile]] = {}
    for file in files:
        match = SPLIT.fullmatch(file.name)
        if match:
            groups.setdefault(match["whole"] + match["sign"], []).append(file)
        else:
            found.append(file)
    return found + [join_parts(f"{stem}*", groups[stem]) for stem in sorted(groups)]


def join_parts(name: str, parts: Sequence[SourceFile]) -> JoinedFile:
    """The parts of one split file, in order, with a hole for each that is missing between them."""
    parts = sorted(parts, key=lambda part: (len(part.name), part.name))
    there = {part.name: part for part in parts}
    # The names of the parts from the first of its kind to the last; those between two that are there, too.
    match, end = SPLIT.fullmatch(parts[0].name), SPLIT.fullmatch(parts[-1].name)
    assert match is not None
    assert end is not None
    stem, width = match["whole"] + match["sign"], len(match["part"])
    digits = "0123456789" if match["part"].isdecimal() else "abcdefghijklmnopqrstuvwxyz"
    low = 0 if digits[0] == "a" else min(1, int(match["part"]))
    count = 0
    for sign in end["part"].lower():
        count = count * len(digits) + digits.index(sign)
    if count - low >= 10_000:
        raise SourceError(f"{parts[-1].name} would be part {count} of a split file.", remedy="Rename its parts.")
    names = []
    for number in range(low, count + 1):
        signs = ""
        for _ in range(width):
            number, rest = divmod(number, len(digits))
            signs = digits[rest] + signs
        names.append(stem + signs)
    stride = max((part.size for part in parts[:-1]), default=parts[-1].size) or 1
    return JoinedFile(name, tuple(map(there.get, names)), tuple(names), stride)


def is_address(pattern: str) -> bool:
    """Whether a path or glob names something inside of a file, or the parts of a split one."""
    return INSIDE in pattern or bool(re.search(r"\.zip[_.](?:part)?[*?]+$", pattern)) or bool(SPLIT.fullmatch(pattern))


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


def outermost(file: SourceFile) -> list[SourceFile]:
    """The real files that a file lies in."""
    while isinstance(file, MemberFile):
        file = file.archive
    return [part for part in file.parts if part] if isinstance(file, JoinedFile) else [file]
