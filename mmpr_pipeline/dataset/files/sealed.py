"""The files of an output that no manifest covers: sealed JSON files, and the hashes that these hold of the others.

One of them says whether the embedded toy model made the output because no real one was there: who may pass it on or
train on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NotRequired, TypedDict, cast

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.core.files import unsealed
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.models.resolve import INSTEAD
from mmpr_pipeline.screening import REPORT
from mmpr_pipeline.screening.mixture import ShareFields
from mmpr_pipeline.screening.report import ScreeningReport
from mmpr_pipeline.storage import MissingKeyError, Store

_AGAIN = "Run the same `mmpr build` again: it writes the file anew."
_REMEDIES = {
    layout.CONFIG: "Run the same `mmpr build` again: it writes the file anew, if other files tell that these are its "
    "settings. Else bring it back from a copy.",
    layout.SUMMARY: _AGAIN,
    REPORT: "While shards are missing, run the same `mmpr build` again: it looks at the rows anew. Else bring "
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
    REPORT: _Unsealed(frozenset(("against", "unchecked", "sources")), frozenset(("contaminated", "templates"))),
}


def read_sealed(store: Store, key: str) -> dict[str, object]:
    """The content of CONFIG, SUMMARY or REPORT, without its seal.

    Raises MissingKeyError where it is not there, and DatasetError, with the remedy, where it is damaged.
    """
    raw = store.read(key)
    try:
        before = _UNSEALED[key]
        return unsealed(raw, before.needed, before.allowed)
    except ValueError as error:
        raise DatasetError(f"{store.url}/{key} is damaged: {error}.", remedy=_REMEDIES[key]) from None


class SourceNote(TypedDict):
    """What users of an output must know of a source."""

    name: str
    role: str
    licence: str
    homepage: str | None
    description: str
    rows: NotRequired[int]
    revision: NotRequired[str | None]
    instructions: NotRequired[list[str]]
    share: NotRequired[ShareFields]
    tiles: NotRequired[int]
    """Most tiles of its images; absent where it asks for no more than `MAX_TILES`."""


class ComparedWith(TypedDict):
    """How each evaluation source was opened, and why others were not compared with."""

    against: dict[str, str]
    unchecked: dict[str, str]


class BuildDescription(TypedDict):
    """config.json. `identity` decides every byte of the shards; `config` holds all settings of the first run."""

    digest: str
    identity: dict[str, object]
    mmpr_version: NotRequired[str]
    config: NotRequired[dict[str, object]]
    sources: NotRequired[list[SourceNote]]
    screening: NotRequired[ComparedWith]


def read_config(store: Store) -> BuildDescription:
    """config.json. Raises as `read_sealed`."""
    return cast(BuildDescription, read_sealed(store, layout.CONFIG))


def read_summary(store: Store) -> BuildSummary:
    """summary.json. Raises as `read_sealed`."""
    return cast(BuildSummary, read_sealed(store, layout.SUMMARY))


def read_screening(store: Store) -> ScreeningReport:
    """screening/report.json. Raises as `read_sealed`."""
    return cast(ScreeningReport, read_sealed(store, REPORT))


def hashes(store: Store) -> dict[str, str]:
    """sha256 of each file that decides or explains the output and that no manifest covers, by its key."""
    there = set(store.list(layout.SCREENING)) & set(layout.SCREENED)
    found = {key: _sha256(store, key) for key in sorted({layout.CONFIG, *there})}
    return {key: sha256 for key, sha256 in found.items() if sha256}


def damaged(store: Store, stated: Mapping[str, object]) -> list[str]:
    """Keys of which the content has another sha256 than stated, or that are gone."""
    return [key for key, sha256 in sorted(stated.items()) if _sha256(store, key) != sha256]


def _sha256(store: Store, key: str) -> str | None:
    try:
        return hashlib.sha256(store.read(key)).hexdigest()
    except MissingKeyError:
        return None


def is_rehearsal(config: BuildDescription) -> bool:
    """Whether an output's config.json says that it is a rehearsal."""
    return bool((config.get("config") or {}).get("rehearsal"))


def refuse_rehearsal(store: Store, what: str, *, allowed: bool = False) -> None:
    """Raise ConfigError where an output is a rehearsal and `what` (`publish it`) was not allowed."""
    try:
        config = read_config(store)
    except (MissingKeyError, DatasetError):  # an output of which nothing is known; others say so
        return
    if is_rehearsal(config) and not allowed:
        raise ConfigError(
            f"{store.url} is a rehearsal: the embedded toy model made its pairs.",
            remedy=f"Build with a real model first. {INSTEAD} Or {what} nevertheless with --allow-rehearsal.",
        )
