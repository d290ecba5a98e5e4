"""The index of a source: what the driver keeps of it and hands to every shard, small and plain JSON data.

`index_source` looks once over the files and keeps only row counts, marks to start reading at, and which rows repeat an
id.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from pydantic import Field

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Record, content_id
from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS, Format
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.files import formats
from mmpr_pipeline.sources.files.containers import INSIDE, MemberFile, at_address
from mmpr_pipeline.sources.files.formats import LocalFile, Row, Scan, SourceFile, Unreadable, local_files
from mmpr_pipeline.sources.files.hub import HubFile, repository_files, resolve
from mmpr_pipeline.sources.files.split_files import SPLIT, JoinedFile
from mmpr_pipeline.sources.images.archives import opened
from mmpr_pipeline.sources.rows import mapping
from mmpr_pipeline.sources.rows.entries import entry_rows


@dataclass(frozen=True)
class RowPlace:
    """Where a question stands: the number of its row, and its own within it, from 1, where rows hold several."""

    row: int
    entry: int = 0

    @property
    def name(self) -> str:
        """What a question without an id is called."""
        return f"row {self.row}#{self.entry}" if self.entry else f"row {self.row}"


class IndexedFile(Record):
    """One file of a source, as the index knows it."""

    name: str = Field(description="Path below the source's root, or in the Hub repository; or an address in a zip.")
    format: Format | None = Field(description="Format; null for generated rows.")
    size: int = Field(description="Size in bytes.")
    digest: str = Field(description="Identity of the contents: of a local file's two ends; empty on the Hub.")
    rows: int = Field(description="Rows; where rows hold several questions, the questions.")
    lines: int = Field(default=0, description="Rows, where they hold several questions; else 0.")
    marks: tuple[tuple[int, int], ...] = Field(description="Some rows' numbers and where the format finds them.")
    within: tuple[tuple[str, int], ...] = Field(
        default=(), description="The files that it lies in and their sizes, where it is no file of its own."
    )
    places: tuple[tuple[int, int], ...] = Field(
        default=(), description="Where rows hold several questions: some questions' numbers and those of their rows."
    )


class IndexedArchive(Record):
    """One archive of images, as the index knows it."""

    name: str = Field(description="Path below the source's root, or in the Hub repository.")
    size: int = Field(description="Size in bytes.")
    digest: str = Field(description="Identity of the contents: of a local file's two ends; empty on the Hub.")
    within: tuple[tuple[str, int], ...] = Field(
        default=(), description="The files that it lies in and their sizes, where it is no file of its own."
    )


class SourceIndex(Record):
    """What a shard needs to know of a source to read its slice; small, and plain JSON data."""

    rows: int = Field(description="Rows (or questions, where rows hold several), unreadable ones included.")
    fingerprint: str = Field(description="Content id of the declaration and the files; no path or time goes into it.")
    revision: str | None = Field(default=None, description="Commit of a Hub data set.")
    files: tuple[IndexedFile, ...] = Field(description="The files, in reading order.")
    duplicates: tuple[int, ...] = Field(default=(), description="Numbers of rows whose id an earlier row has.")
    archives: tuple[IndexedArchive, ...] = Field(default=(), description="The archives that hold the images.")
    joined: IndexedArchive | None = Field(default=None, description="The file that holds further columns of the rows.")


def index_source(
    declaration: SourceDeclaration, root: Path, whole_files: bool, limit: int | None, commit: str | None
) -> SourceIndex:
    """Look once over the rows of a source, see `Source.index`."""
    revision: str | None = None
    archives: list[IndexedArchive] = []
    joined: IndexedArchive | None = None
    ids: array[int] = array("Q")
    if made := declaration.generated:
        rows = made.rows if limit is None else min(made.rows, limit)
        digest = "ids without split" if made.split == "heldout" else ""
        name = f"{made.name}/{made.split}"
        parts = [IndexedFile(name=name, format=None, size=0, digest=digest, rows=rows, marks=())]
    else:
        revision, files = _row_files(declaration, root, whole_files, commit)

        def listed(pattern: str) -> Sequence[SourceFile]:
            if declaration.hub:
                return repository_files(declaration.hub, revision or "", (pattern,), whole_files)
            return local_files((pattern,), root, declaration.name)

        for file in _found(declaration.archives, listed):
            # A broken one is reported now, not in the middle of a build.
            opened(replace(file, whole=False) if isinstance(file, HubFile) else file)
            digest, within = _contents(file)
            archives.append(IndexedArchive(name=file.name, size=file.size, digest=digest, within=within))
        if declaration.join:  # its rows are looked at when they are needed
            (file,) = listed(declaration.join.file)
            joined = IndexedArchive(name=file.name, size=file.size, digest=_contents(file)[0])
        known = {archive.name for archive in [*archives, *([joined] if joined else [])]}
        parts, ids = _scan(declaration, [file for file in files if file.name not in known], limit)
    rows = sum(part.rows for part in parts)
    if not rows:
        raise SourceError(
            f"The source {declaration.name} has no rows.", remedy="Check its files, or leave it out of --sources."
        )
    identity = json.dumps(declaration.identity(), sort_keys=True, ensure_ascii=False)
    indexed: list[IndexedFile | IndexedArchive] = [*parts, *archives, *([joined] if joined else [])]
    seen = [f"{part.name}:{part.size}:{part.digest}" for part in indexed]
    origins = ROW_FORMATS.origins({part.format for part in parts if part.format})
    seen += [f"{name} of {origin}" for name, origin in sorted(origins.items())]
    return SourceIndex(
        rows=rows,
        fingerprint=content_id(identity, revision or "", seen),
        revision=revision,
        files=tuple(parts),
        duplicates=tuple(repeated_positions(ids)),
        archives=tuple(archives),
        joined=joined,
    )


def _row_files(
    declaration: SourceDeclaration, root: Path, whole_files: bool, commit: str | None
) -> tuple[str | None, Sequence[SourceFile]]:
    """The files of rows, and the commit that they are of where they lie on the Hub."""
    hub = declaration.hub
    wanted = (hub.files if hub else ()) or declaration.files
    if hub and commit and hub.revision is None:
        hub = hub.model_copy(update={"revision": commit})
    inside = any(map(_ADDRESS.search, wanted))
    outer = tuple(pattern.split(INSIDE)[0] for pattern in wanted) if inside else wanted
    revision, files = None, list[LocalFile | HubFile]()
    if hub:
        revision, hub_files = resolve(hub.model_copy(update={"files": outer}) if inside else hub, whole_files)
        files += hub_files
    else:
        files += local_files(outer, root, declaration.name)
    if not inside:
        return revision, files

    def listed(pattern: str) -> Sequence[SourceFile]:
        return [file for file in files if fnmatchcase(file.name, pattern)]

    return revision, _found(wanted, listed)


def _found(patterns: Sequence[str], listed: Callable[[str], Sequence[SourceFile]]) -> list[SourceFile]:
    """The files at paths, globs and addresses, each once, by name."""
    each = (at_address(pattern, listed) if _ADDRESS.search(pattern) else listed(pattern) for pattern in patterns)
    found = {file.name: file for files in each for file in files}
    return [found[name] for name in sorted(found)]


_ADDRESS = re.compile(rf"{INSIDE}|\.zip[_.](?:part)?[*?]+$|^(?i:{SPLIT.pattern})\Z")
"""In a path or glob of something inside of a file, or of the parts of a split one."""


def _scan(
    declaration: SourceDeclaration, files: Sequence[SourceFile], limit: int | None
) -> tuple[list[IndexedFile], array[int]]:
    """The files with what was counted in them; and for each row 64 bits of its id's hash, 0 where it has none."""
    parts: list[IndexedFile] = []
    ids = array("Q")
    look, columns = _look(declaration)
    for file in files:
        left = None if limit is None else limit - sum(part.rows for part in parts)
        scan = Scan(limit=left, look=look, columns=columns)
        format = declaration.format or formats.format_of(file.name)
        several = bool(declaration.columns.entry_columns())
        if not scan.full:
            ROW_FORMATS.get(format).scan(file, scan)
        digest, within = _contents(file)
        parts.append(
            IndexedFile(
                name=file.name,
                format=format,
                size=file.size,
                digest=digest,
                within=within,
                rows=scan.questions,
                marks=tuple(scan.marks),
                places=tuple(scan.places) if several else (),
                lines=scan.rows if several else 0,
            )
        )
        ids.extend(scan.ids)
    return parts, ids


def _look(declaration: SourceDeclaration) -> tuple[Callable[[Row], list[int]] | None, tuple[str, ...]]:
    """How to tell the ids of a row's questions, as 64 bits of their hash, 0 for none; and the columns for it.

    None where rows need not be looked at to be counted: they have no ids, and are one question each.
    """
    columns = declaration.columns
    several = columns.entry_columns()
    names = [*several, *(columns.id.split(";") if columns.id else ())]
    if not names:
        return None, ()
    own = not several or columns.own_ids

    def look(row: Row) -> list[int]:
        ids = []
        for number, one in enumerate(entry_rows(row, columns) if several else [row], start=1):
            try:
                found = None if isinstance(one, Unreadable) else mapping.row_id(declaration, one)
            except Exception:  # reading the row will say so
                found = None
            if not found:
                ids.append(0)
                continue
            text = found if own else f"{found}#{number}"
            ids.append(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1)
        return ids

    # Of `a.b` also `a`, the struct that it may be a field of.
    return look, tuple(dict.fromkeys([*names, *(name.partition(".")[0] for name in names)]))


def _contents(file: SourceFile) -> tuple[str, tuple[tuple[str, int], ...]]:
    """A hash that identifies the local files behind a file: empty for those of the Hub, which their commit identifies.
    And the files that a member or a split file lies in, with their sizes; nothing for a file of its own."""
    outer = file
    while isinstance(outer, MemberFile):
        outer = outer.archive
    real = [part for part in outer.parts if part] if isinstance(outer, JoinedFile) else [outer]
    digests = [one.digest() for one in real if isinstance(one, LocalFile)]
    digest = digests[0] if len(digests) == 1 else content_id(*digests) if digests else ""
    return digest, () if real == [file] else tuple((one.name, one.size) for one in real)


def repeated_positions(ids: array[int]) -> list[int]:
    """Positions whose value stands at an earlier position too, ascending; 0 counts for nothing."""
    if not ids:
        return []
    values = np.frombuffer(ids, dtype=np.uint64)
    order = np.argsort(values, kind="stable")
    same = (values[order][1:] == values[order][:-1]) & (values[order][1:] != 0)
    return sorted(int(position) for position in order[1:][same])
