"""Zip files that were split into parts: `images.zip_aa`, `images.zip_ab` ... as one file, nowhere joined on disk."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import SourceFile

SPLIT = re.compile(r"(?P<whole>.+\.zip)(?P<sign>[_.](?:part)?)(?P<part>[a-z]{2,3}|\d{2,4})", re.IGNORECASE)
"""The name of one part of a split zip file: `x.zip_aa`, `x.zip.001`, `x.zip.partaa`."""

FETCH_AGAIN = "Fetch it again; rows that need nothing of it can be read without it."


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
            raise MissingPart(f"{name} is missing.", remedy=FETCH_AGAIN)
        if number not in self._streams:
            self._streams[number] = part.open()
        stream = self._streams[number]
        stream.seek(within)
        data = bytearray()
        while len(data) < length and (more := stream.read(length - len(data))):
            data += more
        if len(data) < length:
            raise MissingPart(f"{name} ends after {part.size} bytes, before what is wanted of it.", remedy=FETCH_AGAIN)
        return bytes(data)

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        super().close()


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
