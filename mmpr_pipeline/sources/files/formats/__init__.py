"""Files of rows, those on this machine among them; and their readers, one module for each format, with one face.

`scan` looks once over a file: how many rows it has, where some of them start (`marks`), and what each row's id is.
`read` then gives any rows of it, starting at the nearest mark, so that a shard reads only its own slice.
"""

from __future__ import annotations

import bisect
import glob
import hashlib
import os
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.declaration.parts import NAMES, ROW_FORMATS, Format

Values = Mapping[str, Any]
Mark = tuple[int, int]
"""A row's number in its file, and where the format finds it: byte offset, row group or record batch."""

EXTENSIONS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".tar": "tar",
}

COMPRESSED = (".gz", ".tgz", ".zst", ".bz2", ".xz")
"""Endings of files that would have to be unpacked first."""

MAX_ROW_BYTES = 64 * 1024 * 1024
"""Longest row of a JSON file, and longest member of a tar."""


@dataclass(frozen=True)
class Unreadable:
    """A row that is not a row, or stands in a row for a value that cannot be read: its reason as a reject, and what was
    seen."""

    reason: str
    detail: str = ""


Row = Values | Unreadable


class SourceFile(Protocol):
    """A file of rows, on this machine or on the Hub."""

    @property
    def name(self) -> str:
        """The file's path below the source's root."""
        ...

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    def open(self) -> BinaryIO:
        """The file, seekable, for reading."""
        ...

    def local(self) -> Path:
        """The file on this machine, fetched whole if need be."""
        ...


_SAMPLED = 64 * 1024
_POINTER, _POINTER_BYTES = b"version https://git-lfs.github.com/spec/", 1024
"""How a pointer of Git LFS begins, which a clone without LFS has in a file's place, and how large it is at most."""


@dataclass(frozen=True)
class LocalFile:
    """A file of rows on this machine; `name` is its path below the source's root."""

    path: Path
    name: str
    size: int

    def open(self) -> BinaryIO:
        """See SourceFile."""
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise SourceError(
                f"Cannot read {self.path}: {error.strerror or error}.", remedy="Check that the file is still there."
            ) from None
        if self.size < _POINTER_BYTES and stream.read(len(_POINTER)) == _POINTER:
            stream.close()
            raise SourceError(
                f"{self.path} is a pointer of Git LFS and not the file itself.",
                remedy="Run `git lfs pull` in its folder, or `hf download --repo-type dataset ORG/NAME`.",
            )
        stream.seek(0)
        return stream

    def local(self) -> Path:
        """See SourceFile."""
        self.open().close()
        return self.path

    def digest(self) -> str:
        """sha256 of the file's first and last 64 KiB: enough to notice a rewrite without reading terabytes."""
        digest = hashlib.sha256()
        with self.open() as stream:
            digest.update(stream.read(_SAMPLED))
            stream.seek(max(self.size - _SAMPLED, 0))
            digest.update(stream.read(_SAMPLED))
        return digest.hexdigest()[:32]


def local_files(patterns: tuple[str, ...], root: Path, source: str) -> list[LocalFile]:
    """The files that the patterns match below `root`, by name. Raises SourceError where a pattern matches none."""
    found: dict[str, LocalFile] = {}
    for pattern in patterns:
        matches = [path for path in glob.glob(str(root / pattern), recursive=True) if os.path.isfile(path)]
        if not matches:
            raise SourceError(
                f"The source {source} has no file {pattern} in {root}.",
                remedy="Give --data-root DIR if its rows are elsewhere; relative paths start there, or else at the "
                "declaration's own folder.",
            )
        for match in matches:
            name = Path(os.path.relpath(match, root)).as_posix()
            found[name] = LocalFile(Path(match), name, os.path.getsize(match))
    return [found[name] for name in sorted(found)]


# ---- their readers

QUESTIONS_PER_PLACE = 256


@dataclass
class Scan:
    """What one look over a file found.

    `look` gives an id of 64 bits, 0 for none, for each question in a row: where ids are wanted, or where rows hold
    several questions. Without it rows are only counted, and each is a question.
    """

    limit: int | None = None
    look: Callable[[Row], Sequence[int]] | None = None
    columns: tuple[str, ...] = ()
    rows: int = 0
    questions: int = 0
    marks: list[Mark] = field(default_factory=list)
    places: list[Mark] = field(default_factory=list)
    ids: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def full(self) -> bool:
        """Whether as many questions as wanted were seen."""
        return self.limit is not None and self.questions >= self.limit

    @property
    def left(self) -> int:
        """Most rows that are still to be looked at."""
        return sys.maxsize if self.limit is None else self.limit - self.questions

    def count(self, rows: int) -> None:
        """Count rows that are not looked at."""
        self.rows += rows
        self.questions += rows

    def saw(self, row: Row | None) -> None:
        """Count one row; None where only counting was asked for."""
        if self.look is None:
            return self.count(1)
        ids = self.look(row if row is not None else Unreadable("torn_line"))[: self.left]
        if not self.places or self.questions - self.places[-1][0] >= QUESTIONS_PER_PLACE:
            self.places.append((self.questions, self.rows))
        self.rows += 1
        self.questions += len(ids)
        self.ids.extend(ids)


class RowFormat(Protocol):
    """What a module of this folder offers, or what a distribution brings (see `declaration.parts`)."""

    def scan(self, file: SourceFile, scan: Scan) -> None:
        """Fill in what `scan` holds. Raises SourceError where the file is not of the format."""
        ...

    def read(
        self, file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None
    ) -> Iterator[Row]:
        """Rows start..stop of the file, one item for each, with the top-level `columns` that it has (None: all)."""
        ...


def format_of(path: str) -> Format:
    """The format that a file's extension names. Raises SourceError."""
    suffix = Path(path).suffix.lower()
    if suffix in EXTENSIONS:
        return EXTENSIONS[suffix]
    names = ROW_FORMATS.names()
    for name in names[len(NAMES) :]:
        if suffix in getattr(ROW_FORMATS.get(name), "extensions", ()):
            return name
    remedy = f"Say `format: {'|'.join(names)}` in the declaration."
    if suffix in COMPRESSED:
        remedy = "Unpack it: compressed files have no rows that can be read on their own."
    if suffix == ".zip":
        remedy = "A zip of images is named under `archives:`; rows are files beside it, or unpacked ones."
    raise SourceError(f"No format is known by the extension of {path}.", remedy=remedy)


def mark_before(marks: tuple[Mark, ...], row: int) -> Mark:
    """The last mark that is not after `row`."""
    return marks[bisect.bisect_right(marks, row, key=lambda mark: mark[0]) - 1] if marks else (0, 0)
