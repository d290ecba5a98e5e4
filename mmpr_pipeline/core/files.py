"""Files and folders that are whole or not there, and that tell their own damage.

The same content gives the same bytes. A sealed file is JSON that holds the sha256 of all else that it says, and is
sound where it is, byte for byte, what `sealed` writes of its content. Other files begin with a checksum of their name
and all that follows, and JSON lines end with one. What is damaged, or another's, is not taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SEAL = "sha256"


def json_bytes(data: object) -> bytes:
    """JSON that a person can read, the same bytes for the same data."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def sealed(content: Mapping[str, object]) -> bytes:
    """The sealed file of this content."""
    return json_bytes({**content, SEAL: _seal(content)})


def unsealed(raw: bytes, needed: frozenset[str], allowed: frozenset[str]) -> dict[str, Any]:
    """The content of a sealed file. Raises ValueError that says what is wrong with it.

    A file without a seal, of a version before, is taken too if it holds the `needed` names and else none but the
    `allowed` ones: a file whose seal is damaged does not pass for one.
    """
    if not raw.strip():
        raise ValueError("it is empty")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    seal = content.pop(SEAL, None)
    if seal is None and needed <= content.keys() <= needed | allowed:
        return content
    if seal is None:
        raise ValueError("it has no checksum")
    if seal != _seal(content) or raw != json_bytes({**content, SEAL: seal}):
        raise ValueError("its checksum does not match")
    return content


def _seal(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json_bytes(content)).hexdigest()


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


def sha256_of(path: Path) -> str:
    """sha256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where downloads and converted copies lie: `MMPR_CACHE`, or `mmpr` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MMPR_CACHE") or Path(base) / "mmpr")


@contextmanager
def atomic_folder(target: Path, *, alone: bool = False) -> Iterator[Path]:
    """A new folder beside `target`, hidden until the work in it is done: then it becomes `target`, else it is removed.

    `target` must not exist, or be an empty folder. `alone`: no other process writes it at the same time, so that what a
    killed one left is removed.
    """
    partial = target.parent / f".unfinished-{target.name if alone else uuid.uuid4().hex}"
    if alone:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
