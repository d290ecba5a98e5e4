"""The summary of a finished dataset: the totals of all manifests, and what its last run took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NotRequired, TypedDict

from mmpr_pipeline.core.errors import DatasetError, nearest
from mmpr_pipeline.core.records import SCHEMA_VERSION
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import CountsFields, Manifest, merge_counts, read_manifest
from mmpr_pipeline.engines.engine import EngineStatsFields
from mmpr_pipeline.screening.report import ScreeningReport
from mmpr_pipeline.storage import MissingKeyError, Store


class DatasetTotals(TypedDict):
    """What all manifests say together."""

    schema_version: str
    shards: int
    identity: str
    counts: CountsFields
    sources: dict[str, CountsFields]
    files: int
    bytes: int


class RunFigures(TypedDict, total=False):
    """What the run that finished a dataset did: its share of the counts, and what its engines say of themselves."""

    seconds: float
    shards: int
    questions: int
    paired: int
    unpaired: int
    rejected: int
    pairs: int
    rollouts: int
    resumed: int
    tokens: int
    engine: EngineStatsFields
    runs_on: dict[str, str]


class RecordedFigures(TypedDict):
    """Where the rollouts of a recorded file went."""

    rollouts: int
    used: int
    unused: int
    unusable_lines: int


class MergedOutput(TypedDict):
    """An output that was merged into this one."""

    digest: str
    model: str


class PlanSummary(TypedDict):
    """What a plan adds to the summary."""

    screening: NotRequired[ScreeningReport]
    warnings: NotRequired[list[str]]
    merged: NotRequired[list[MergedOutput]]


class BuildSummary(DatasetTotals, PlanSummary):
    """summary.json. Versions before 0.2 wrote neither `hashes` nor `rehearsal`."""

    mmpr_version: str
    digest: str
    run: RunFigures
    rehearsal: NotRequired[bool]
    recorded: NotRequired[RecordedFigures]
    hashes: NotRequired[dict[str, str]]


def summarise(store: Store, shards: int, only: Iterable[int] | None = None) -> DatasetTotals:
    """DatasetTotals over all shards, or over `only` some: `schema_version`, `shards`, `identity`, `counts`, `sources`,
    `files`, `bytes`.

    Raises DatasetError where one of them is not finished.
    """
    manifests = list(manifests_of(store, shards, only))
    names = sorted({name for m in manifests for name in m.sources})
    files = [entry for m in manifests for entry in m.files]
    return {
        "schema_version": SCHEMA_VERSION,
        "shards": shards,
        "identity": manifests[0].identity,
        "counts": merge_counts(m.counts for m in manifests).plain(),
        "sources": {n: merge_counts(m.sources[n] for m in manifests if n in m.sources).plain() for n in names},
        "files": len(files),
        "bytes": sum(entry.bytes for entry in files),
    }


def shards_of(store: Store) -> int:
    """Number of shards of the dataset. Raises DatasetError where none is finished."""
    found = [key.removesuffix(".json").rpartition("-of-")[2] for key in store.list("manifests/")]
    if not found or not found[0].isdecimal():
        raise no_dataset(store)
    return int(found[0])


def no_dataset(store: Store) -> DatasetError:
    """What to raise where no shard is finished: nothing is there, a build is at work, or one was stopped early."""
    if store.is_held():
        return DatasetError(
            f"{store.url} holds no finished shard yet.",
            remedy=f"A build is at work on it: wait for its first shard; `mmpr top {store.url}` shows how far it is.",
        )
    if store.exists(layout.CONFIG) and b'"identity"' in store.read(layout.CONFIG):  # a model has a config.json too
        return DatasetError(
            f"{store.url} holds no finished shard: its build was stopped before.",
            remedy="Run the same `mmpr build` again: it goes on.",
        )
    if next(iter(store.list()), None) is not None:
        return DatasetError(f"{store.url} is no output of `mmpr build`.", remedy="Give the --out of a build.")
    place = Path(store.url)
    beside = place.parent.iterdir() if place.parent.is_dir() else ()
    folders = [each.name for each in beside if each.is_dir() and each != place]
    return DatasetError(
        f"There is nothing at {store.url}{nearest(place.name, folders, listing=False) or '.'}",
        remedy="Give the output of `mmpr build`.",
    )


def finished_shards(store: Store) -> list[int]:
    """Numbers of the shards that are finished, in order; also while a build goes on."""
    names = (key.removeprefix("manifests/").partition("-of-")[0] for key in store.list("manifests/"))
    return [int(name) for name in names if name.isdecimal()]


def manifests_of(store: Store, shards: int, only: Iterable[int] | None = None) -> Iterator[Manifest]:
    """Manifests of all shards, or of `only` some, in order. Raises DatasetError where one is missing or belongs to
    another build."""
    first: Manifest | None = None
    for shard in range(shards) if only is None else only:
        key = layout.shard_key("manifest", shard, shards)
        try:
            manifest = read_manifest(store.read(key), key)
        except MissingKeyError:
            again = "Run the same `mmpr build` again: it goes on."
            raise DatasetError(
                f"{store.url} is not finished: {key} is missing.",
                remedy=f"A build is running on it: wait for its end; `mmpr top {store.url}` shows how far it is."
                if store.is_held()
                else again,
            ) from None
        if (manifest.shard, manifest.of) != (shard, shards):
            raise DatasetError(
                f"{store.url}/{key} is the manifest of shard {manifest.shard} of {manifest.of}.",
                remedy="Bring it back from a copy; or delete it and run the same `mmpr build` "
                "again: its shard is rebuilt.",
            )
        first = first or manifest
        if manifest.identity != first.identity:
            other = layout.shard_key("manifest", first.shard, shards)
            raise DatasetError(
                f"{store.url}/{key} was built with other settings than {other}.",
                remedy="Where one of them is damaged, bring it back from a copy.",
            )
        yield manifest
