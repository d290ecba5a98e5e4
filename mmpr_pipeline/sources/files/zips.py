"""The list of members of a zip file, read without unpacking.

Nothing of an archive is believed: how large it says it is, how many members it has, where they lie.
"""

from __future__ import annotations

import posixpath
import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO

MAX_DIRECTORY = 512 * 1024 * 1024
"""Most bytes of an archive's list of members: about five million of them."""

STORED, DEFLATED = 0, 8
LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
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


@dataclass(frozen=True)
class ZipDirectory:
    """The members of a zip file; each is kept as the bytes of its entry, and decoded when it is asked for."""

    entries: bytes
    start: int
    places: dict[str, int]

    def member(self, name: str) -> Member | None:
        """The member of exactly this name."""
        place = self.places.get(name)
        return None if place is None else _entry(self.entries, place, self.start)[0]


def read_directory(stream: BinaryIO, size: int) -> ZipDirectory:
    """The directory of a zip file of `size` bytes. Raises ValueError or struct.error where there is none."""
    # The list of members as it lies, and how far the archive is moved within the file. Raises ValueError.
    begin = max(size - _END.size - 0xFFFF - _LOCATOR.size, 0)
    stream.seek(begin)
    tail = stream.read(size - begin)
    at = _end_record(tail)
    _, disk, first, *_, length, offset, _ = _END.unpack_from(tail, at)
    directory_end = begin + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size : at][:4] == b"PK\6\7":
        *_, where, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        if where > directory_end:
            raise ValueError("the end of its list of members lies outside of it")
        stream.seek(where)
        _, _, _, _, disk, first, _, _, length, offset = _END64.unpack(stream.read(_END64.size))
        directory_end = where
    if disk or first:
        raise ValueError("it is one part of several")
    if length > MAX_DIRECTORY:
        raise ValueError(f"its list of members has {length} bytes, at most {MAX_DIRECTORY}")
    if length > directory_end or offset > directory_end:
        raise ValueError("its list of members lies outside of it")
    stream.seek(directory_end - length)
    entries, start = (stream.read(length), directory_end - length - offset)
    # Where each file's entry stands in the list, by name; names that lead out of the archive name nothing.
    found: dict[str, int] = {}
    at = 0
    while at < len(entries):
        member, end = _entry(entries, at, start)
        name = safe_name(member.name)
        if name and not member.name.endswith("/"):
            found.setdefault(name, at)
        at = end
    return ZipDirectory(entries, start, found)


def safe_name(name: str) -> str | None:
    """A name within an archive, in one spelling; None for one that leads out of it."""
    flat = posixpath.normpath(name.replace("\\", "/"))
    return None if flat.startswith(("/", "../")) or flat == ".." or "\0" in name else flat


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
        raise ValueError("it has no end of an archive")
    return last


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
