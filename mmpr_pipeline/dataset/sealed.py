"""The JSON files of an output that tell their own damage: each holds the sha256 of all else that it says.

A file is sound where it is, byte for byte, what `sealed` writes of its content. Files of versions before had no seal;
they are taken as they are, as long as they hold nothing but the names that these versions wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.json_files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.storage import MissingKeyError, Store

SEAL = "sha256"

_AGAIN = "Run the same `mmpr build` again: it writes the file anew."
_REMEDIES = {
    layout.CONFIG: "Run the same `mmpr build` again: it writes the file anew, if a finished shard has its settings. "
    "Else bring it back from a copy.",
    layout.SUMMARY: _AGAIN,
    layout.REPORT: "While shards are missing, run the same `mmpr build` again: it looks at the rows anew. Else bring "
    "it back from a copy.",
}


@dataclass(frozen=True)
class _Unsealed:
    """The names that a file of a version without seals holds, and those that it may hold: a damaged file, or a seal
    whose own name is damaged, does not pass for one."""

    needed: frozenset[str]
    allowed: frozenset[str]


_UNSEALED = {
    layout.CONFIG: _Unsealed(
        frozenset(("digest", "identity")), frozenset(("mmpr_version", "config", "sources", "screening"))
    ),
    layout.SUMMARY: _Unsealed(
        frozenset(("shards", "identity", "counts")),
        frozenset(("mmpr_version", "digest", "run", "schema_version", "sources", "files", "bytes", "screening"))
        | {"warnings", "recorded"},
    ),
    layout.REPORT: _Unsealed(frozenset(("against", "unchecked", "sources")), frozenset(("contaminated", "templates"))),
}


def sealed(content: dict[str, Any]) -> bytes:
    """The file of this content."""
    return json_bytes({**content, SEAL: _seal(content)})


def read_sealed(store: Store, key: str) -> dict[str, Any]:
    """The content of CONFIG, SUMMARY or REPORT, without its seal.

    Raises MissingKeyError where it is not there, and DatasetError, with the remedy, where it is damaged.
    """
    raw = store.read(key)
    try:
        return _content(raw, _UNSEALED[key])
    except ValueError as error:
        raise DatasetError(f"{store.url}/{key} is damaged: {error}.", remedy=_REMEDIES[key]) from None


def _content(raw: bytes, before: _Unsealed) -> dict[str, Any]:
    """The content of a sealed file, or of one of a version `before`. Raises ValueError that says what is wrong."""
    if not raw.strip():
        raise ValueError("it is empty")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    seal = content.pop(SEAL, None)
    if seal is None and before.needed <= content.keys() <= before.needed | before.allowed:
        return content
    if seal is None:
        raise ValueError("it has no checksum")
    if seal != _seal(content) or raw != json_bytes({**content, SEAL: seal}):
        raise ValueError("its checksum is another")
    return content


def hashes(store: Store) -> dict[str, str]:
    """sha256 of each file that decides or explains the output and that no manifest covers, by its key."""
    there = set(store.list(layout.SCREENING)) & set(layout.SCREENED)
    found = {key: _sha256(store, key) for key in sorted({layout.CONFIG, *there})}
    return {key: sha256 for key, sha256 in found.items() if sha256}


def damaged(store: Store, stated: Mapping[str, str]) -> list[str]:
    """Keys of which the content has another sha256 than stated, or that are gone."""
    return [key for key, sha256 in sorted(stated.items()) if _sha256(store, key) != sha256]


def _sha256(store: Store, key: str) -> str | None:
    try:
        return hashlib.sha256(store.read(key)).hexdigest()
    except MissingKeyError:
        return None


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json_bytes(content)).hexdigest()
