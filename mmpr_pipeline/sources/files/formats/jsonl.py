"""JSON lines: one object a line. A torn line is one row that cannot be read; blank lines are no rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from mmpr_pipeline.sources.files.formats import MAX_ROW_BYTES, Mark, Row, Scan, SourceFile, Unreadable, mark_before

ROWS_PER_MARK = 1024
BYTES_PER_MARK = 4 * 1024 * 1024


def scan(file: SourceFile, scan: Scan) -> None:
    """See RowFormat."""
    with file.open() as stream:
        marked = -BYTES_PER_MARK
        for offset, line in _lines(stream, 0):
            if scan.full:
                return
            if scan.rows % ROWS_PER_MARK == 0 or offset - marked >= BYTES_PER_MARK:
                scan.marks.append((scan.rows, offset))
                marked = offset
            scan.saw(parse_line(line) if scan.look else None)


def read(file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None) -> Iterator[Row]:
    """See RowFormat."""
    first, offset = mark_before(marks, start)
    with file.open() as stream:
        for number, (_, line) in enumerate(_lines(stream, offset), start=first):
            if number >= stop:
                return
            if number >= start:
                yield parse_line(line)


def _lines(stream: BinaryIO, offset: int) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank, with its offset; None for one that is too long to be held."""
    stream.seek(offset)
    while line := stream.readline(MAX_ROW_BYTES + 1):
        length, too_long = len(line), len(line) > MAX_ROW_BYTES
        while too_long and not line.endswith(b"\n") and (line := stream.readline(MAX_ROW_BYTES)):
            length += len(line)
        if too_long or not line.isspace():
            yield offset, None if too_long else line
        offset += length


def parse_line(line: bytes | None) -> Row:
    """One line as an object, or why it is none."""
    if line is None:
        return Unreadable("row_too_large", f"more than {MAX_ROW_BYTES} bytes")
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Unreadable("torn_line", "not UTF-8")
    except (ValueError, RecursionError) as error:
        return Unreadable("torn_line", str(error)[:200])
    if not isinstance(value, dict):
        return Unreadable("not_an_object", type(value).__name__)
    return value
