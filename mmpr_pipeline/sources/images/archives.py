"""Images in zip files, read member by member without unpacking: on the Hub, one range of bytes for one image.

Nothing of an archive is believed: how large it says it is, how many members it has, where they lie, how large they
become. Members are found by name in memory and never written, so that a name can lead nowhere.
"""

from __future__ import annotations

import posixpath
import threading
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO, cast

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.files.containers import fresh_directory, stamp
from mmpr_pipeline.sources.files.formats import SourceFile
from mmpr_pipeline.sources.files.split_files import JoinedFile, MissingPart
from mmpr_pipeline.sources.files.zips import DEFLATED, LOCAL, STORED, Member, ZipDirectory, safe_name
from mmpr_pipeline.sources.images import MAX_BYTES

MAX_RATIO = 250
"""Most times that a member above `SMALL` may grow: pictures hardly do, a zip bomb a thousand times."""

SMALL = 1 << 20


@dataclass
class ZipImages:
    """The images of one zip file."""

    file: SourceFile
    stream: BinaryIO
    directory: ZipDirectory
    top: str
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def members(self) -> dict[str, int]:
        """The names of the members."""
        return self.directory.places

    def find(self, path: str) -> Member | None:
        """The member of a path: of that name, or below the archive's only folder, or without the archive's own name."""
        stem = posixpath.basename(self.file.name).removesuffix(".zip") + "/"
        for name in (path, f"{self.top}{path}", path.removeprefix(stem), f"{self.top}{path.removeprefix(stem)}"):
            if member := self.directory.member(name):
                return member
        return None

    def read(self, member: Member, most: int = MAX_BYTES) -> bytes:
        """The member's bytes. Raises ItemRejected: image_too_large, zip_bomb, archive_member or broken_image."""
        shown = member.name[:200]
        if member.link:
            raise ItemRejected("archive_member", f"{shown} is a symbolic link")
        if member.encrypted or member.method not in (STORED, DEFLATED):
            how = "encrypted" if member.encrypted else f"compressed by method {member.method}"
            raise ItemRejected("archive_member", f"{shown} is {how}; only stored and deflated members are read")
        if member.size > most or member.packed > most:
            raise ItemRejected("image_too_large", f"{shown}: {member.size} bytes, at most {most}")
        if member.size > SMALL and member.size > MAX_RATIO * max(member.packed, 1):
            raise ItemRejected("zip_bomb", f"{shown}: {member.packed} bytes become {member.size}")
        try:
            with self.lock:
                data = self._packed(member)
        except MissingPart as error:
            raise ItemRejected("missing_part", f"{member.name[:200]}: {error}".splitlines()[0]) from None
        try:
            # No more than allowed is ever made, whatever the archive says.
            raw = data if member.method == STORED else zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most + 1)
        except zlib.error as error:
            raise ItemRejected("broken_image", f"{member.name[:200]}{self._part(member)}: {error}") from None
        if len(raw) != member.size or zlib.crc32(raw) != member.crc:
            raise ItemRejected("broken_image", f"{member.name[:200]}{self._part(member)}: not what its checksum says")
        return raw

    def _part(self, member: Member) -> str:
        """Which part of a split archive a member begins in."""
        return f" ({self.file.part_at(member.offset)})" if isinstance(self.file, JoinedFile) else ""

    def _packed(self, member: Member) -> bytes:
        """The bytes as they lie in the file: one read of the local header, its name, and what follows."""
        if not 0 <= member.offset < self.file.size:
            raise ItemRejected("broken_image", f"{member.name[:200]}: it would lie outside of the archive")
        self.stream.seek(member.offset)
        guess = LOCAL.size + len(member.name.encode("utf-8", "replace")) + 64 + member.packed
        data = self.stream.read(guess)
        if len(data) < LOCAL.size or data[:4] != b"PK\3\4":
            raise ItemRejected("broken_image", f"{member.name[:200]}: no member lies there")
        *_, name, extra = LOCAL.unpack_from(data)
        begin = LOCAL.size + name + extra
        if len(data) < begin + member.packed:
            data += self.stream.read(begin + member.packed - len(data))
        return data[begin : begin + member.packed]


@dataclass(frozen=True)
class ImageArchives:
    """The archives of a source. `root` is put before paths, where the declaration has an image_root; `most`: bytes of
    an image."""

    files: tuple[SourceFile, ...]
    root: str = ""
    most: int = MAX_BYTES

    def has(self, path: str) -> bool:
        """Whether one of the archives has a member of this path; nothing of it is read."""
        wanted = safe_name(posixpath.join(self.root, path))
        return wanted is not None and any(opened(file).find(wanted) for file in self.files)

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
                return archive.read(member, self.most)
        return None


def opened(file: SourceFile) -> ZipImages:
    """An archive with its list of members read; kept open for all later rows of this process.

    Raises SourceError where the file is no zip archive.
    """
    return _opened(cast(Any, file), stamp(file))


@lru_cache(maxsize=64)
def _opened(file: Any, changed: int) -> ZipImages:
    directory = fresh_directory(file)
    tops = {name.partition("/")[0] if "/" in name else "" for name in directory.places}
    top = f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""
    return ZipImages(file, file.open(), directory, top)
