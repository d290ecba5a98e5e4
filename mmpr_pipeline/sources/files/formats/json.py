"""A JSON file that is one list of objects, or one mapping of ids to objects (the id becomes the column `_key`).

Of `{"version": 1, "data": [{...}, ...]}` the rows are the list; what stands around it is about the file. Objects are
read one by one, as a stream; what follows a syntax error is one row that cannot be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import MAX_ROW_BYTES, Mark, Row, Scan, SourceFile, Unreadable, mark_before

ROWS_PER_MARK = 256
_CHUNK = 1 << 20
_HEAD = 1 << 16
_OF_ROWS = frozenset(
    ["data", "rows", "questions", "samples", "items", "examples", "instances", "entries", "records", "annotations"]
)
_NEXT = re.compile(r'[\s,]*(?=")')
_VALUE = re.compile(r"\s*:\s*")
_LIST_OF_OBJECTS = re.compile(r"\[\s*\{")
_BLANK = b" \t\r\n"
_STRUCTURE = re.compile(rb'["{}\[\],]')
_STRING_END = re.compile(rb'(?<!\\)(?:\\\\)*"')


def scan(file: SourceFile, scan: Scan) -> None:
    """See RowFormat."""
    with file.open() as stream:
        mapping, begin, whole = _opening(stream, file.name)
        for offset, text in _elements(stream, begin, whole):
            if scan.full:
                return
            if scan.rows % ROWS_PER_MARK == 0:
                scan.marks.append((scan.rows, offset))
            scan.saw(_parse(text, mapping) if scan.look else None)


def read(file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None) -> Iterator[Row]:
    """See RowFormat."""
    with file.open() as stream:
        mapping, begin, whole = _opening(stream, file.name)
        first, offset = mark_before(marks, start)
        for number, (_, text) in enumerate(_elements(stream, offset or begin, whole), start=first):
            if number >= stop:
                return
            if number >= start:
                yield _parse(text, mapping)


def _opening(stream: BinaryIO, name: str) -> tuple[bool, int, bool]:
    """Whether the rows are a mapping, the offset after its opening bracket, or that of their list, and whether these
    are the whole file."""
    head = stream.read(_HEAD)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"{name} is text in UTF-16.", remedy="Save it as UTF-8.")
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    if body[:1] not in (b"[", b"{"):
        raise SourceError(
            f"{name} is neither a JSON list nor a JSON mapping.",
            remedy="If it has one object on each line, say `format: jsonl` in the declaration.",
        )
    begin = len(head) - len(body) + 1
    listed = _list_of_rows(head.decode("latin-1"), begin) if body[:1] == b"{" else None  # latin-1: a sign a byte
    return (False, listed, False) if listed else (body[:1] == b"{", begin, True)


def _list_of_rows(head: str, at: int) -> int | None:
    """The offset after the bracket of `"data": [{`, if that comes soon in a mapping."""
    decode = json.JSONDecoder().raw_decode
    try:
        while (key_at := _NEXT.match(head, at)) and (sign := _VALUE.match(head, end := decode(head, key_at.end())[1])):
            key, at = head[key_at.end() + 1 : end - 1], sign.end()
            if key in _OF_ROWS and _LIST_OF_OBJECTS.match(head, at):
                return at + 1
            at = decode(head, at)[1]
    except (ValueError, RecursionError):  # the head ends within a value, or what is there is no JSON
        pass
    return None


_AFTER_END = b"\0"
"""Stands for text after the closing bracket: the rows of whatever it is would else be lost uncounted."""


def _parse(text: bytes | None, mapping: bool) -> Row:
    if text is _AFTER_END:
        return Unreadable("torn_line", "text after the closing bracket; of one object on each line say format: jsonl")
    if text is None:
        return Unreadable("row_too_large", f"more than {MAX_ROW_BYTES} bytes")
    try:
        if not mapping:
            value = json.loads(text)
        else:
            (key, value), *_ = json.loads(b"{" + text + b"}").items()
            value = {"_key": key, **value} if isinstance(value, dict) else value
    except (ValueError, RecursionError) as error:
        return Unreadable("torn_line", str(error)[:200])
    return value if isinstance(value, dict) else Unreadable("not_an_object", type(value).__name__)


def _elements(stream: BinaryIO, offset: int, whole: bool) -> Iterator[tuple[int, bytes | None]]:
    """The text between the commas of the outermost brackets, with its offset; None where it is too long.

    Ends at the closing bracket; of a `whole` file text behind it is one more element. Text that the file ends in
    without one is the last, torn, element.
    """
    stream.seek(offset)
    buffer, begin, at, depth, in_string = b"", 0, 0, 0, False  # the element starts at `begin`, `at` is looked at next
    while True:
        found = (_STRING_END if in_string else _STRUCTURE).search(buffer, at)
        if found is None:
            chunk = stream.read(_CHUNK)
            if not chunk or len(buffer) - begin > MAX_ROW_BYTES:
                if buffer[begin:].strip(_BLANK):
                    yield offset + begin, buffer[begin:] if not chunk else None
                return
            # Search on behind this text, but for backslashes at its end: they may escape what follows.
            at = (max(at, len(buffer.rstrip(b"\\"))) if in_string else len(buffer)) - begin
            buffer, offset, begin = buffer[begin:] + chunk, offset + begin, 0
            continue
        sign, at = found.group()[-1:], found.end()
        if in_string or sign == b'"':
            in_string = not in_string
        elif sign in b"{[":
            depth += 1
        elif sign in b"}]" and depth:
            depth -= 1
        elif depth == 0:
            if buffer[begin : at - 1].strip(_BLANK):
                yield offset + begin, buffer[begin : at - 1]
            if sign != b",":
                rest = buffer[at:] if whole else b""
                while whole and not rest.strip(_BLANK) and (rest := stream.read(_CHUNK)):
                    pass
                if rest.strip(_BLANK):
                    yield offset + at, _AFTER_END
                return
            begin = at
