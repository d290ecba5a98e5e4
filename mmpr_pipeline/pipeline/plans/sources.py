"""The sources of a build, opened and indexed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, SourceAwayError, SourceError
from mmpr_pipeline.core.records import Reject
from mmpr_pipeline.dataset.files.sealed import SourceNote
from mmpr_pipeline.models.messages import MAX_TILES
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.screening.fingerprints import Fingerprint
from mmpr_pipeline.screening.mixture import ALL, share_fields, taken
from mmpr_pipeline.screening.report import EvaluationSet
from mmpr_pipeline.screening.settings import Share
from mmpr_pipeline.sources import SourceIndex, open_source
from mmpr_pipeline.sources.declaration.catalog import expand, find_declaration

FIRST_ROWS = 20
"""Rows of a file that are tried before a build begins."""


@dataclass(frozen=True)
class ResolvedSource:
    """One source of the build: how to open it, and its index."""

    name: str
    path: str
    index: SourceIndex
    role: str
    licence: str
    homepage: str | None
    description: str
    generated: bool = False
    share: Share = ALL
    """How much of it is taken."""
    instructions: tuple[str, ...] = ()
    """The source's own, in place of the templates'."""
    tiles: int = 0
    """Most tiles of an image that its questions ask for."""
    compared: bool = False
    """Whether its rows are compared with evaluation sources."""
    fingerprint: Fingerprint | None = None
    """What stands for the rows of an evaluation source, where they are not here themselves."""

    @property
    def questions(self) -> int:
        """Questions that its share asks of all its rows, repeats included; screening may leave fewer."""
        return taken(self.index.rows, self.share) * self.share.repeat

    @property
    def content(self) -> EvaluationSet:
        """What identifies its rows."""
        return {"rows": self.index.rows, "content": self.index.fingerprint}

    def described(self) -> SourceNote:
        """What users of the dataset must know of its source."""
        note: SourceNote = {
            "name": self.name,
            "rows": self.index.rows,
            "revision": self.index.revision,
            "role": self.role,
            "licence": self.licence,
            "homepage": self.homepage,
            "description": self.description,
        }
        if self.instructions:
            note["instructions"] = list(self.instructions)
        if self.share != ALL:
            note["share"] = share_fields(self.share)
        if self.tiles > MAX_TILES:
            note["tiles"] = self.tiles
        return note


def resolve_source(
    path: str, data_root: str | None, limit: int | None = None, share: Share = ALL, commit: str | None = None
) -> ResolvedSource:
    """Open and index a source, on the Hub at this commit where its declaration pins none. Raises SourceError or
    ConfigError."""
    source = open_source(path, data_root)
    declaration = source.declaration
    index = source.index(limit, commit)
    return ResolvedSource(
        name=source.name,
        path=path,
        index=index,
        role=declaration.role,
        licence=declaration.licence,
        homepage=declaration.homepage,
        description=declaration.description,
        generated=declaration.generated is not None,
        share=share,
        instructions=declaration.prompt.instructions() if declaration.prompt else (),
        tiles=declaration.tiles,
    )


def require_columns(planned: ResolvedSource, data_root: str | None) -> None:
    """Raise SourceError where a declaration names a column that none of the first rows of its files has: no row would
    be a question. Rows of the Hub are not looked at, nor are images."""
    if not Path(planned.path).suffix or planned.generated:
        return
    source = open_source(planned.path, data_root)
    if source.declaration.hub is not None:
        return
    rows = min(FIRST_ROWS, planned.index.rows)
    items = list(replace(source, looks=False).read(planned.index, 0, rows))
    rejects = [item for item in items if isinstance(item, Reject) and item.reason == "missing_column"]
    if rows and len(rejects) == rows:
        raise SourceError(
            f"No row of {planned.name} can be a question: there is no column {rejects[0].detail}",
            remedy=f"Correct the columns in {planned.path}; `mmpr sources check {planned.path}` tries them.",
        )


def resolve_sources(config: BuildConfig, begun: Mapping[str, Any] | None = None) -> tuple[ResolvedSource, ...]:
    """The sources of a build with their shares. Raises SourceError or ConfigError before any work is done.

    `begun`: the config.json of an output that was begun: it keeps the commits of the Hub that it began with.
    """
    commits = {source["name"]: source["revision"] for source in (begun or {}).get("sources", ())}
    sources: dict[str, ResolvedSource] = {}
    used: set[str] = set()
    away: dict[str, SourceAwayError] = {}
    screening = config.screening
    for entry in config.sources:
        for path in expand([entry]):
            if path in sources:
                continue
            declaration = find_declaration(path)[0]
            name = declaration.name
            if config.preset and not declaration.columns.chosen:
                raise ConfigError(
                    f"The source {name} brings no pairs: its declaration names no columns chosen and rejected.",
                    remedy="Name them, or sample responses with an engine.",
                )
            names = (name, path, entry)
            used |= set(names)
            share = next((config.mixture[known] for known in names if known in config.mixture), ALL)
            try:
                # Once it gave no answer, the Hub is not waited for again.
                with hub_offline() if away else nullcontext():
                    source = resolve_source(path, config.data_root, config.limit, share, commits.get(name))
            except SourceAwayError as error:
                away[name] = error
                continue
            # With evaluation sources that are named every source is compared; by default those to train on, but for
            # what this program generates itself. An evaluation source among them is warned of.
            by_default = source.role == "train" and not source.generated
            compared = screening.decontaminate != "none" and (screening.against is not None or by_default)
            sources[path] = replace(source, compared=compared)
    if away:
        first, *more = away.values()
        lines = "".join(f"\n    {name}: {error.message}" for name, error in away.items())
        raise SourceAwayError(f"{len(away)} sources cannot be read:{lines}", remedy=first.remedy) if more else first
    found = [source.name for source in sources.values()]
    if repeated := sorted({name for name in found if found.count(name) > 1}):
        raise ConfigError(
            f"Two sources have the name {', '.join(repeated)}.", remedy="Give each declaration a name of its own."
        )
    if unknown := sorted(set(config.mixture) - used):
        raise ConfigError(
            f"The mixture has a share of {', '.join(unknown)}, which is not a source of this build.",
            remedy="Name it in sources too, or correct its name.",
        )
    return tuple(sources.values())


@contextmanager
def hub_offline() -> Iterator[None]:
    """The Hub's library as if HF_HUB_OFFLINE=1 were set."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
