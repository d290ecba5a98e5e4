"""Files that begin with a checksum of their name and all that follows, and JSON lines that end with one.

What is damaged, or another's, is not taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

CHECKSUM_BYTES = 32
_LINE_CHECK = b', "check": "'
_LINE_CHECK_BYTES = 8


def with_checksum(name: str, body: bytes) -> bytes:
    """The file of this name and content."""
    return _checksum(name, body) + body


def without_checksum(name: str, raw: bytes) -> bytes:
    """The content of a file of this name. Raises ValueError where it is damaged, or another's."""
    body = raw[CHECKSUM_BYTES:]
    if raw[:CHECKSUM_BYTES] != _checksum(name, body):
        raise ValueError("its checksum does not match")
    return body


def checked_line(fields: Mapping[str, Any]) -> bytes:
    """One line of JSON with its newline, whose last field, `check`, is a checksum of the others (at least one)."""
    body = json.dumps(fields).encode()
    return body[:-1] + _LINE_CHECK + _line_check(body) + b'"}\n'


def is_checked(line: bytes) -> bool:
    """Whether the line (without its newline) ends with a checksum and is just what was written."""
    body, found, check = line.rpartition(_LINE_CHECK)
    return bool(found) and check == _line_check(body + b"}") + b'"}'


def checked_fields(line: bytes, parse_constant: Callable[[str], Any] | None = None) -> dict[str, object]:
    """The fields of a line, without its checksum. Raises ValueError where it is damaged.

    A line without a `check`, written by hand or by a version before, is taken as it is. `parse_constant`: as in json.
    """
    try:
        fields = json.loads(line, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")
    if "check" in fields and not is_checked(line):
        raise ValueError("its checksum does not match")
    fields.pop("check", None)
    return fields


def sound_lines(raw: bytes, parse_constant: Callable[[str], Any] | None = None) -> list[dict[str, object]]:
    """The fields of all whole lines that are sound. Beside lines with a checksum, one without is damaged."""
    lines = [line for line in raw.split(b"\n")[:-1] if line]
    if any(is_checked(line) for line in lines):
        lines = [line for line in lines if is_checked(line)]
    found = []
    for line in lines:
        try:
            found.append(checked_fields(line, parse_constant))
        except ValueError:
            continue
    return found


def _checksum(name: str, body: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + body).digest()


def _line_check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_LINE_CHECK_BYTES).hexdigest().encode()
