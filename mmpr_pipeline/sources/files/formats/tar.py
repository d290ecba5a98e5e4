"""WebDataset tars: consecutive members with the same name up to its first dot are one row, a column an extension.

Grouping is the `webdataset` library's. Members are read here, so that a member larger than allowed, or a sparse one
that would unfold to any size, is never read; `.json`, `.txt` and `.cls` are decoded, nothing is ever unpickled.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import MAX_ROW_BYTES, Mark, Row, Scan, SourceFile, Unreadable, mark_before

SAMPLES_PER_MARK = 64
_META = re.compile(r"__[^/]*__($|/)")
_TORN = "__torn__"
Content = bytes | Unreadable | None


def scan(file: SourceFile, scan: Scan) -> None:
    """See RowFormat."""
    wanted = set(scan.columns) if scan.look else set()
    with file.open() as stream:
        for offset, sample in _samples(file, stream, 0, wanted):
            if scan.full:
                return
            if scan.rows % SAMPLES_PER_MARK == 0:
                scan.marks.append((scan.rows, offset))
            scan.saw(_row(sample) if scan.look else None)


def read(file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None) -> Iterator[Row]:
    """See RowFormat."""
    first, offset = mark_before(marks, start)
    with file.open() as stream:
        for number, (_, sample) in enumerate(
            _samples(file, stream, offset, None if columns is None else set(columns)), start=first
        ):
            if number >= stop:
                return
            if number >= start:
                yield _row(sample)


def _samples(
    file: SourceFile, stream: BinaryIO, offset: int, wanted: set[str] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each sample and the offset of its first member; only members with a `wanted` extension are read."""
    from webdataset.tariterators import group_by_keys

    # A name given twice in a sample raises in the library; the handler says to go on, and the first one counts.
    members = _apart(_members(file, stream, offset, wanted))
    for sample in group_by_keys(members, handler=lambda error: True):
        found = {name: value for name, value in sample.items() if isinstance(value, tuple)}
        contents = {name: content for name, (_, content) in found.items() if content is not None}
        yield min(at for at, _ in found.values()), {"__key__": sample["__key__"].partition("\0")[0], **contents}


def _apart(members: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The members, those of a second sample of the same key under a key of their own: the library would drop them.

    A sample has several members, so one that comes again right after itself is no second sample.
    """
    key, seen, number = "", set[str](), 0
    for member in members:
        folder, slash, name = member["fname"].rpartition("/")
        stem, dot, extension = name.partition(".")
        if (found := folder + slash + stem) != key:
            key, seen, number = found, set(), 0
        elif extension.lower() in seen and len(seen) > 1:
            seen, number = set(), number + 1
        seen.add(extension.lower())
        yield {**member, "fname": f"{key}{chr(0) * number}{dot}{extension}"} if number else member


def _members(file: SourceFile, stream: BinaryIO, offset: int, wanted: set[str] | None) -> Iterator[dict[str, Any]]:
    """Files of the tar from a member's offset on, as `webdataset` takes them. A torn end is one more sample."""
    stream.seek(offset)
    try:
        tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 (the stream is the caller's)
    except tarfile.TarError as error:
        raise SourceError(
            f"{file.name} is not a plain tar: {error}", remedy="Unpack it, or rewrite it uncompressed."
        ) from None
    torn = ""
    try:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every member it has seen
            if not member.isreg() or _META.match(member.name):
                continue
            content: Content = None
            if member.issparse() or member.size > MAX_ROW_BYTES:
                content = Unreadable("row_too_large", f"{member.name}: {member.size} bytes")
            elif member.offset_data + member.size > file.size:
                raise tarfile.ReadError(f"{member.name} is cut short")
            elif wanted is None or member.name.rpartition("/")[2].partition(".")[2].lower() in wanted:
                data = tar.extractfile(member)
                content = data.read() if data else None
            yield {"fname": member.name, "data": (member.offset, content), "__url__": file.name}
        stream.seek(tar.offset)  # tarfile takes a broken header for the end
        torn = "broken header" if stream.read(512).strip(b"\0") else ""
    except (tarfile.TarError, OSError, EOFError) as error:
        torn = str(error)[:200] or type(error).__name__
    if torn:
        row = Unreadable("torn_line", f"the tar is torn: {torn}")
        yield {"fname": f"{_TORN}.{_TORN}", "data": (tar.offset, row), "__url__": file.name}


def _row(sample: dict[str, Any]) -> Row:
    row = {}
    for name, content in sample.items():
        if isinstance(content, Unreadable):
            return content
        try:
            extension = name.rpartition(".")[2]
            row[name] = (
                (json.loads(content))
                if (extension == "json")
                else ((content.decode("utf-8")) if (extension in ("txt", "cls", "text")) else (content))
            )
        except (ValueError, RecursionError) as error:
            return Unreadable("torn_line", f"{name}: {error}"[:200])
    return row
