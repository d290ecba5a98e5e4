"""The evaluation sets that the sources of a build are compared with: which, and from where they are to be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from mmpr_pipeline.core.errors import SourceAwayError, SourceError
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.plans.sources import ResolvedSource, hub_offline, resolve_source
from mmpr_pipeline.screening.fingerprints import kept_fingerprint
from mmpr_pipeline.screening.report import EvaluationSet
from mmpr_pipeline.sources import SourceIndex
from mmpr_pipeline.sources.declaration.catalog import catalog_names, expand, find_declaration
from mmpr_pipeline.sources.files.hub import bytes_to_fetch


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
NOT_FETCHED = "not on this machine, and not to be fetched"


def resolve_evaluation_sets(
    config: BuildConfig, sources: Sequence[ResolvedSource], begun: Mapping[str, Any] | None
) -> EvaluationSets:
    """The evaluation sets to compare with, where any source is (`ResolvedSource.compared`).

    `begun`: the config.json of an output that was begun: there, "all that are to be had" stays what it was. Raises
    SourceError or ConfigError where one that is named cannot be opened.
    """
    if config.screening.against is not None:
        return _sets(
            [_kept(path) or resolve_source(path, config.data_root) for path in expand(config.screening.against)]
        )
    if begun and "screening" in begun:  # its rows were compared before anything was sampled
        return EvaluationSets((), begun["identity"]["screening"]["against"], begun["screening"]["unchecked"])
    # Each by itself; once the Hub turns out to be out of reach, the others only from its cache.
    names = _by_default({source.name for source in sources})
    found: list[ResolvedSource] = []
    unchecked: dict[str, str] = {}
    fetches = config.screening.decontaminate != "cached"
    reachable = True
    for name in names:
        if kept := _kept(name):
            found.append(kept)
            continue
        try:
            with nullcontext() if reachable else hub_offline():
                if fetches or _is_here(name):
                    found.append(resolve_source(name, config.data_root))
                else:
                    unchecked[name] = NOT_FETCHED
        except SourceError as error:
            unchecked[name] = error.message[:200]
            reachable = reachable and not isinstance(error, SourceAwayError)
    for name in list(unchecked) if not reachable else ():  # those asked for in vain may lie in the cache
        try:
            with hub_offline():
                found.append(resolve_source(name, config.data_root))
            del unchecked[name]
        except SourceError:
            continue
    return _sets(sorted(found, key=lambda source: source.name), unchecked)


def to_fetch(config: BuildConfig) -> dict[str, int]:
    """The evaluation sets that a new build would fetch from the Hub by default, and how many bytes of each.

    Empty where none is compared with by default, or the Hub cannot be reached.
    """
    declared = [find_declaration(path)[0] for path in expand(config.sources)]
    trained = [each for each in declared if each.role == "train" and not each.generated]
    if config.screening.decontaminate == "none" or config.screening.against is not None or not trained:
        return {}
    missing = {}
    for name in _by_default({each.name for each in declared}):
        declaration = find_declaration(name)[0]
        if declaration.hub is None or kept_fingerprint(declaration):
            continue
        try:
            missing[name] = bytes_to_fetch(declaration.hub, declaration.archives)
        except SourceAwayError:
            return {}
        except SourceError:
            continue
    return {name: size for name, size in missing.items() if size}


def fetch_sentence(missing: Mapping[str, int]) -> str:
    """What decontamination would fetch, and how to have less of it."""
    from mmpr_pipeline.dataset.review.terminal import human_size

    sets = ", ".join(f"{name} ({human_size(size)})" for name, size in sorted(missing.items(), key=lambda i: -i[1]))
    return (
        f"Decontamination compares with {len(missing)} evaluation sets that are not on this machine, "
        f"{human_size(sum(missing.values()))} to fetch: {sets}. --decontaminate cached takes those that are here, none "
        "takes none; `mmpr screening fetch` brings their fingerprints, a few megabytes, instead."
    )


def _by_default(sources: set[str]) -> list[str]:
    """The evaluation sets of the catalog that are not sources themselves."""
    return [name for name in catalog_names() if name not in sources and find_declaration(name)[0].role == "evaluation"]


def _sets(found: Sequence[ResolvedSource], unchecked: Mapping[str, str] | None = None) -> EvaluationSets:
    return EvaluationSets(tuple(found), {source.name: source.content for source in found}, unchecked or {})


def _kept(path: str) -> ResolvedSource | None:
    """An evaluation set by its fingerprint, where there is one here."""
    declaration = find_declaration(path)[0]
    kept = kept_fingerprint(declaration)
    if kept is None:
        return None
    return ResolvedSource(
        name=declaration.name,
        path=path,
        index=SourceIndex(rows=kept.rows, fingerprint=kept.content, revision=kept.revision, files=()),
        role=declaration.role,
        licence=declaration.licence,
        homepage=declaration.homepage,
        description=declaration.description,
        fingerprint=kept,
    )


def _is_here(name: str) -> bool:
    """Whether all files of a set are on this machine; the Hub is asked for their names only. Raises SourceError."""
    declaration = find_declaration(name)[0]
    return declaration.hub is None or bytes_to_fetch(declaration.hub, declaration.archives) == 0
