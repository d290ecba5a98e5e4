"""Images in zip files, read member by member without unpacking: on the Hub, one range of bytes for one image.

Nothing of an archive is believed: how large it says it is, how many members it has, where they lie, how large they
become. Members are found by name in memory and never written, so that a name can lead nowhere.
"""

from __future__ import annotations

import posixpath
import stat
import struct
import threading
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO

from mmpr_pipeline.core.errors import ItemRejected, SourceError
from mmpr_pipeline.sources.files.formats import SourceFile
from mmpr_pipeline.sources.images.decode import MAX_BYTES

MAX_DIRECTORY = 512 * 1024 * 1024
"""Most bytes of an archive's list of members: about five million of them."""

MAX_RATIO = 250
"""Most times that a member above `SMALL` may grow: pictures hardly do, a zip bomb a thousand times."""

SMALL = 1 << 20
_STORED, _DEFLATED = 0, 8
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_FULL32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """A file in an archive, as the archive's list tells of it."""

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    method: int
    encrypted: bool
    link: bool


@dataclass
class ZipImages:
    """The images of one zip file."""

    name: str
    size: int
    stream: BinaryIO
    directory: bytes
    start: int
    members: dict[str, int]
    top: str
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def find(self, path: str) -> Member | None:
        """The member of a path: of that name, or below the archive's only folder, or without the archive's own name."""
        stem = posixpath.basename(self.name).removesuffix(".zip") + "/"
        for name in (path, f"{self.top}{path}", path.removeprefix(stem), f"{self.top}{path.removeprefix(stem)}"):
            if name in self.members:
                return _entry(self.directory, self.members[name], self.start)[0]
        return None

    def read(self, member: Member) -> bytes:
        """The member's bytes. Raises ItemRejected: image_too_large, zip_bomb, archive_member or broken_image."""
        _refuse(member)
        with self.lock:
            data = self._packed(member)
        try:
            raw = data if member.method == _STORED else _inflated(data)
        except zlib.error as error:
            raise ItemRejected("broken_image", f"{member.name[:200]}: {error}") from None
        if len(raw) != member.size or zlib.crc32(raw) != member.crc:
            raise ItemRejected("broken_image", f"{member.name[:200]}: not what its checksum says")
        return raw

    def _packed(self, member: Member) -> bytes:
        """The bytes as they lie in the file: one read of the local header, its name, and what follows."""
        if not 0 <= member.offset < self.size:
            raise ItemRejected("broken_image", f"{member.name[:200]}: it would lie outside of the archive")
        self.stream.seek(member.offset)
        guess = _LOCAL.size + len(member.name.encode("utf-8", "replace")) + 64 + member.packed
        data = self.stream.read(guess)
        if len(data) < _LOCAL.size or data[:4] != b"PK\3\4":
            raise ItemRejected("broken_image", f"{member.name[:200]}: no member lies there")
        *_, name, extra = _LOCAL.unpack_from(data)
        begin = _LOCAL.size + name + extra
        if len(data) < begin + member.packed:
            data += self.stream.read(begin + member.packed - len(data))
        return data[begin : begin + member.packed]


def _refuse(member: Member) -> None:
    shown = member.name[:200]
    if member.link:
        raise ItemRejected("archive_member", f"{shown} is a symbolic link")
    if member.encrypted or member.method not in (_STORED, _DEFLATED):
        how = "encrypted" if member.encrypted else f"compressed by method {member.method}"
        raise ItemRejected("archive_member", f"{shown} is {how}; only stored and deflated members are read")
    if member.size > MAX_BYTES or member.packed > MAX_BYTES:
        raise ItemRejected("image_too_large", f"{shown}: {member.size} bytes, at most {MAX_BYTES}")
    if member.size > SMALL and member.size > MAX_RATIO * max(member.packed, 1):
        raise ItemRejected("zip_bomb", f"{shown}: {member.packed} bytes become {member.size}")


def _inflated(data: bytes) -> bytes:
    """Deflated bytes as they were; no more than allowed is ever made, whatever the archive said."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_BYTES + 1)


@dataclass(frozen=True)
class ImageArchives:
    """The archives of a source. `root` is put before paths, where the declaration has an image_root."""

    files: tuple[SourceFile, ...]
    root: str = ""

    def read(self, path: str) -> bytes | None:
        """The bytes behind a path in the first archive that has it; None where none has.

        Raises ItemRejected: image_outside_root, and what `ZipImages.read` raises; SourceError for a broken archive.
        """
        wanted = safe_name(posixpath.join(self.root, path))
        if wanted is None:
            raise ItemRejected("image_outside_root", path[:200])
        for file in self.files:
            archive = opened(file)
            if member := archive.find(wanted):
                return archive.read(member)
        return None


def safe_name(name: str) -> str | None:
    """A name within an archive, in one spelling; None for one that leads out of it."""
    flat = posixpath.normpath(name.replace("\\", "/"))
    return None if flat.startswith(("/", "../")) or flat == ".." or "\0" in name else flat


def opened(file: SourceFile) -> ZipImages:
    """An archive with its list of members read; kept open for all later rows of this process.

    Raises SourceError where the file is no zip archive.
    """
    path = getattr(file, "path", None)
    hashable: Any = file
    return _opened(hashable, path.stat().st_mtime_ns if path else 0)


@lru_cache(maxsize=64)
def _opened(file: Any, changed: int) -> ZipImages:
    stream = file.open()
    try:
        directory, start = _directory(stream, file.size)
        members = _members(directory, start)
    except (struct.error, OSError, ValueError) as error:
        stream.close()
        raise SourceError(
            f"{file.name} cannot be read as a zip archive: {error}",
            remedy="Fetch it again, or unpack it and name its folder as image_root.",
        ) from None
    tops = {name.partition("/")[0] if "/" in name else "" for name in members}
    top = f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""
    return ZipImages(file.name, file.size, stream, directory, start, members, top)


def _directory(stream: BinaryIO, size: int) -> tuple[bytes, int]:
    """The list of members as it lies, and how far the archive is moved within the file. Raises ValueError."""
    begin = max(size - _END.size - 0xFFFF - _LOCATOR.size, 0)
    stream.seek(begin)
    tail = stream.read(size - begin)
    at = _end_record(tail)
    _, disk, first, *_, length, offset, _ = _END.unpack_from(tail, at)
    end = begin + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size : at][:4] == b"PK\6\7":
        *_, where, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        if where > end:
            raise ValueError("the end of its list of members lies outside of it")
        stream.seek(where)
        _, _, _, _, disk, first, _, _, length, offset = _END64.unpack(stream.read(_END64.size))
        end = where
    if disk or first:
        raise ValueError("it is one part of several")
    if length > MAX_DIRECTORY:
        raise ValueError(f"its list of members has {length} bytes, at most {MAX_DIRECTORY}")
    if length > end or offset > end:
        raise ValueError("its list of members lies outside of it")
    stream.seek(end - length)
    return stream.read(length), end - length - offset


def _end_record(tail: bytes) -> int:
    """Where the record of the end stands: the last whose comment ends with the file, for a comment may hold its sign.

    Raises ValueError where there is none.
    """
    at = last = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    while at >= 0:
        if at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail):
            return at
        at = tail.rfind(b"PK\5\6", 0, at + 3)
    if last < 0:
        raise ValueError("it has no end-of-archive record")
    return last


def _members(directory: bytes, start: int) -> dict[str, int]:
    """Where each file's entry stands in the list, by name; names that lead out of the archive name nothing."""
    found: dict[str, int] = {}
    at = 0
    while at < len(directory):
        member, end = _entry(directory, at, start)
        name = safe_name(member.name)
        if name and not member.name.endswith("/"):
            found.setdefault(name, at)
        at = end
    return found


def _entry(directory: bytes, at: int, start: int) -> tuple[Member, int]:
    """The member at a place of the list, and where the next one begins. Raises struct.error or ValueError."""
    fields = _ENTRY.unpack_from(directory, at)
    sign, version, _, flags, method, _, _, crc, packed, size, name, extra, comment, _, _, mode, offset = fields
    if sign != b"PK\1\2":
        raise ValueError("its list of members is broken")
    begin = at + _ENTRY.size
    text = directory[begin : begin + name].decode("utf-8" if flags & 0x800 else "cp437", "replace")
    more = directory[begin + name : begin + name + extra]
    if _FULL32 in (packed, size, offset):
        size, packed, offset = _zip64(more, size, packed, offset)
    unix = version >> 8 == 3
    link = unix and stat.S_ISLNK(mode >> 16)
    return (
        Member(text, offset + start, packed, size, crc, method, bool(flags & 1), link),
        begin + name + extra + comment,
    )


def _zip64(extra: bytes, *values: int) -> list[int]:
    """The values with those that did not fit into 32 bits taken from the extra field, in its order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            at += 4
            wide = []
            for value in values:
                if value == _FULL32:
                    (value,) = struct.unpack_from("<Q", extra, at)
                    at += 8
                wide.append(value)
            return wide
        at += 4 + length
    raise ValueError("a member's size is missing")
