"""JSON files that come out the same, byte for byte, for the same content, and those that tell their own damage.

A sealed file holds the sha256 of all else that it says. It is sound where it is, byte for byte, what `sealed` writes of
its content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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
