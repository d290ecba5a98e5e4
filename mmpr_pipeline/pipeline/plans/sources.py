"""The sources of a build, opened and indexed: those that questions come from, and those that they must not be in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, SourceError
from mmpr_pipeline.dataset.files.sealed import SourceNote
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.screening.mixture import ALL, share_fields, share_of, taken
from mmpr_pipeline.screening.report import EvaluationSet
from mmpr_pipeline.screening.settings import Share
from mmpr_pipeline.sources import Source, SourceIndex, open_source
from mmpr_pipeline.sources.declaration.catalog import catalog_names, expand, find_declaration


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
        return note

    def open(self, data_root: str | None) -> Source:
        """The source, in whichever process this is."""
        return open_source(self.path, data_root)


@dataclass(frozen=True)
class EvaluationSets:
    """The evaluation sources that training sources are compared with. False where there are none."""

    sources: tuple[ResolvedSource, ...] = ()
    """Empty where the comparison is done already, and nothing is to be opened again."""
    content: Mapping[str, EvaluationSet] = field(default_factory=dict)
    """What identifies the rows of each."""
    unchecked: Mapping[str, str] = field(default_factory=dict)
    """Evaluation sources of the catalog that are not to be had, and why."""

    def __bool__(self) -> bool:
        return bool(self.content)


NO_COMPARISON = EvaluationSets()
_OUT_OF_REACH = re.compile(r"on the Hub: \w*(Connect|Timeout|Proxy|SSL|Network|Offline)|not in the Hub's cache")
"""Of an error: the Hub gave no answer. Any other answer is about the one data set only."""


def resolve_source(path: str, data_root: str | None, limit: int | None = None, share: Share = ALL) -> ResolvedSource:
    """Open and index a source. Raises SourceError or ConfigError."""
    source = open_source(path, data_root)
    told = source.declaration
    index = source.index(limit)
    return ResolvedSource(
        name=source.name,
        path=path,
        index=index,
        role=told.role,
        licence=told.licence,
        homepage=told.homepage,
        description=told.description,
        generated=told.generated is not None,
        share=share,
        instructions=told.instructions(),
    )


def resolve_sources(config: BuildConfig) -> tuple[ResolvedSource, ...]:
    """The sources of a build with their shares. Raises SourceError or ConfigError before any work is done."""
    sources: dict[str, ResolvedSource] = {}
    used: set[str] = set()
    for given in config.sources:
        for path in expand([given]):
            if path in sources:
                continue
            declaration = find_declaration(path)[0]
            name = declaration.name
            if config.preset and not declaration.columns.chosen:
                raise ConfigError(
                    f"The source {name} brings no pairs: its declaration names no columns chosen and rejected.",
                    remedy="Name them, or sample responses with an engine.",
                )
            names = (name, path, given)
            used |= set(names)
            sources[path] = resolve_source(path, config.data_root, config.limit, share_of(config.mixture, names))
    names_given = [source.name for source in sources.values()]
    if repeated := sorted({name for name in names_given if names_given.count(name) > 1}):
        raise ConfigError(
            f"Two sources have the name {', '.join(repeated)}.", remedy="Give each declaration a name of its own."
        )
    if unknown := sorted(set(config.mixture) - used):
        raise ConfigError(
            f"The mixture has a share of {', '.join(unknown)}, which is not a source of this build.",
            remedy="Name it in sources too, or correct its name.",
        )
    return tuple(sources.values())


def screened_by_content(source: ResolvedSource, config: BuildConfig) -> bool:
    """Whether a source is compared with evaluation sources: with those that are named, every source; by default those
    to train on, but for what this program generates itself. An evaluation source among them is warned of."""
    named = config.screening.against is not None
    return config.screening.decontaminate and (named or (source.role == "train" and not source.generated))


def resolve_evaluation_sets(
    config: BuildConfig, sources: Sequence[ResolvedSource], begun: Mapping[str, Any] | None
) -> EvaluationSets:
    """The evaluation sources to compare with.

    `begun`: the config.json of an output that was begun: there, "all that are to be had" stays what it was. Raises
    SourceError or ConfigError where one that is named cannot be opened.
    """
    if not any(screened_by_content(source, config) for source in sources):
        return NO_COMPARISON
    if config.screening.against is not None:
        return _opened(expand(config.screening.against), config)
    if begun and "screening" in begun:  # its rows were compared before anything was sampled
        return EvaluationSets((), begun["identity"]["screening"]["against"], begun["screening"]["unchecked"])
    return _to_be_had([name for name in _evaluation_names() if name not in {source.name for source in sources}], config)


def _opened(paths: Sequence[str], config: BuildConfig) -> EvaluationSets:
    found = tuple(resolve_source(path, config.data_root) for path in paths)
    return EvaluationSets(found, {source.name: source.content for source in found})


def _to_be_had(names: Sequence[str], config: BuildConfig) -> EvaluationSets:
    """Each by itself; once the Hub turns out to be out of reach, the others only from its cache."""
    found: list[ResolvedSource] = []
    unchecked: dict[str, str] = {}
    reachable = True
    for name in names:
        try:
            with _offline(not reachable):
                found.append(resolve_source(name, config.data_root))
        except SourceError as error:
            unchecked[name] = error.message[:200]
            reachable = reachable and not _OUT_OF_REACH.search(error.message)
    for name in list(unchecked) if not reachable else ():  # those asked for in vain may lie in the cache
        try:
            with _offline(True):
                found.append(resolve_source(name, config.data_root))
            del unchecked[name]
        except SourceError:
            continue
    found.sort(key=lambda source: source.name)
    return EvaluationSets(tuple(found), {source.name: source.content for source in found}, unchecked)


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """The Hub's library as if HF_HUB_OFFLINE=1 were set."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _evaluation_names() -> list[str]:
    return [name for name in catalog_names() if find_declaration(name)[0].role == "evaluation"]
