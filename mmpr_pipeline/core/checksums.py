"""Files that begin with a checksum of their name and all that follows: damaged, or another's, they are not taken."""

from __future__ import annotations

import hashlib

CHECKSUM_BYTES = 32


def with_checksum(name: str, body: bytes) -> bytes:
    """The file of this name and content."""
    return _checksum(name, body) + body


def without_checksum(name: str, raw: bytes) -> bytes:
    """The content of a file of this name. Raises ValueError where it is damaged, or another's."""
    body = raw[CHECKSUM_BYTES:]
    if raw[:CHECKSUM_BYTES] != _checksum(name, body):
        raise ValueError("its checksum does not match")
    return body


def _checksum(name: str, body: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + body).digest()
