"""The driver of a build: plan, claim the output, make the missing shards, sum up. Holds no question and no rollout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol, cast

from mmpr_pipeline.core.errors import ConfigError, DatasetError, MmprError, StoreError
from mmpr_pipeline.core.json_files import sealed
from mmpr_pipeline.core.logs import FOLDER, keep_logs
from mmpr_pipeline.core.masking import masked
from mmpr_pipeline.core.settings import differences
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.manifest import checked_rollouts, read_manifest
from mmpr_pipeline.dataset.files.sealed import (
    BuildDescription,
    damaged,
    hashes,
    read_config,
    read_screening,
    read_summary,
)
from mmpr_pipeline.dataset.files.summary import BuildSummary, RunFigures, summarise
from mmpr_pipeline.dataset.review.beside import without_pairs
from mmpr_pipeline.engines.engine import EngineStats
from mmpr_pipeline.engines.owner import EngineOwner
from mmpr_pipeline.models.choice import REHEARSAL_WARNING
from mmpr_pipeline.pipeline.choosing import choose, few_right
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.watch.progress_file import KEY as PROGRESS
from mmpr_pipeline.pipeline.watch.progress_file import ProgressFile
from mmpr_pipeline.sources.declaration.catalog import declarations_in
from mmpr_pipeline.storage import MissingKeyError, Store, absolute_model, absolute_url, open_store


class BuildView(Protocol):
    """What shows a build to its user."""

    def stage(self, text: str, done: int = 0, num_shards: int = 0, /) -> None:
        """A new stage of the build begins; or it goes on, where its parts are counted."""

    def planned(self, plan: Plan, missing: int) -> None:
        """The plan is made; `missing` shards are to be worked on."""

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """So many of the missing shards are finished; counts over all of them."""


class NoBuildView:
    """Shows nothing."""

    def stage(self, text: str, done: int = 0, num_shards: int = 0, /) -> None:
        """See `BuildView`."""

    def planned(self, plan: Plan, missing: int) -> None:
        """See `BuildView`."""

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """See `BuildView`."""


def run_build(config: BuildConfig, view: BuildView | None = None) -> BuildSummary:
    """Make the dataset that the settings describe, or finish it, and return its summary.

    Raises ConfigError, SourceError, EngineError or StoreError, each before any work where that is possible. May be
    killed at any time; the same call goes on from there.
    """
    view = view or NoBuildView()
    compared = ", and the evaluation sets to compare them with (--decontaminate none leaves those out)"
    config = absolute_build_paths(choose(config)[0])
    store = open_store(config.out)
    with _claimed(store, view) as (watched, still_held):
        watched.stage(f"reading sources{compared * config.screening.decontaminates}")
        return _carry_out(make_build_plan(config, begun_with(store) if has_begun(store) else None), watched, still_held)


def run_plan(plan: Plan, view: BuildView | None = None) -> BuildSummary:
    """Carry out a plan: claim its output, make what is missing, sum up."""
    with _claimed(open_store(plan.config.out), view or NoBuildView()) as (watched, still_held):
        return _carry_out(plan, watched, still_held)


class _Watched:
    """The user's view, and the progress that the output itself tells of."""

    def __init__(self, view: BuildView, progress_file: ProgressFile) -> None:
        self._view, self._progress_file = view, progress_file
        self.engines: Callable[[], EngineStats] = EngineStats

    def stage(self, text: str, done: int = 0, num_shards: int = 0, /) -> None:
        """See `BuildView`."""
        self._progress_file.stage(f"{text}, {done:,} of {num_shards:,}" if num_shards else text)
        self._view.stage(text, done, num_shards)

    def planned(self, plan: Plan, missing: int) -> None:
        """See `BuildView`."""
        self._progress_file.planned(plan, missing)
        self._view.planned(plan, missing)

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """See `BuildView`."""
        self._view.progress(finished, tally)
        self._progress_file.show(finished, tally, self.engines)


@contextmanager
def _claimed(store: Store, view: BuildView) -> Iterator[tuple[_Watched, Callable[[], None]]]:
    """Hold the output alone and let it tell what becomes of this run: stopped, failed, or nothing once finished."""
    store.check_writable()
    with store.lease() as still_held:
        progress_file = ProgressFile(store)

        def ended(how: Literal["stopped", "failed"], why: str = "") -> None:
            with suppress(StoreError):  # who lost the lease says nothing in the name of who has it now
                still_held()
                if store.exists(layout.CONFIG) and not store.exists(layout.SUMMARY):
                    progress_file.end(how, why)
                else:  # nothing was begun, or nothing was left to do
                    store.delete(PROGRESS)

        try:
            yield _Watched(view, progress_file), still_held
        except KeyboardInterrupt:
            ended("stopped")
            raise
        except MmprError as error:
            ended("failed", error.message)
            raise
        except Exception as error:
            ended("failed", f"{type(error).__name__}: {masked(str(error))}"[:500])
            raise


def _carry_out(plan: Plan, view: _Watched, still_held: Callable[[], None]) -> BuildSummary:
    store, started = open_store(plan.config.out), time.monotonic()
    store.sweep()
    claim_output(store, plan)
    missing = missing_shards(store, plan)
    if not missing:
        view.planned(plan, 0)
    run = _make(plan, missing, view, still_held) if missing else RunFigures()
    run |= {"seconds": round(time.monotonic() - started, 1), "shards": len(missing)}
    return finish(store, plan, run)


def _make(plan: Plan, missing: list[int], view: _Watched, still_held: Callable[[], None]) -> RunFigures:
    """Make the missing shards on Ray; the counts of what this run did, and what its engines say of themselves."""
    from mmpr_pipeline.cluster.session import ray_session
    from mmpr_pipeline.pipeline.workers.shards_on_ray import work_shards

    keep_logs(log_folder(open_store(plan.config.out)))
    tally: dict[str, int] = {}
    engines = EngineOwner(plan.start)

    def progress(finished: int, now: dict[str, int]) -> None:
        still_held()
        tally.update(now)
        view.progress(finished, now)

    view.engines = engines.stats
    view.stage("starting Ray")
    with ray_session(plan.config.address) as cpus:
        plan = plan.prepare(plan.config.workers or cpus, view.stage, still_held)
        view.planned(plan, len(missing))
        if plan.samples:
            view.stage(f"starting the {plan.config.engine.name} engine")
        workers = plan.config.workers or min(len(missing), cpus)
        with engines:
            view.stage("sampling" if engines.engine else "checking and pairing")
            work_shards(plan, missing, engines.engine, workers, progress)
            counted = {name: value for name, value in tally.items() if not name.startswith(("by/", "shard/", "work/"))}
            run = cast(RunFigures, counted)
            if engines.engine is not None:
                run |= {"engine": engines.stats().plain(), "runs_on": engines.engine.info.runs_on}
            return run


def log_folder(store: Store) -> Path | None:
    """Where an output's logs are kept; None for one that is on no disk."""
    return None if "://" in store.url else Path(store.url) / FOLDER


def claim_output(store: Store, plan: Plan) -> None:
    """Write config.json, or refuse an output that was begun with other settings, with the difference shown."""
    described: BuildDescription = {
        "mmpr_version": __version__,
        "digest": plan.digest,
        "identity": plan.identity,
        "config": plan.config.model_dump(mode="json"),
        "sources": plan.described_sources,
    }
    if (compared := plan.described_screening) is not None:
        described["screening"] = compared
    before = begun_with(store)
    if not has_begun(store):  # nothing was made yet, whatever a stopped run meant to make
        if before is None or before["digest"] != plan.digest:
            store.delete_prefix(layout.SCREENING)
        store.write(layout.CONFIG, sealed(described))
        return
    if before is None:
        if not _was_begun_by(store, plan):
            raise ConfigError(
                f"{store.url} was begun, but its {layout.CONFIG} is gone or damaged, and nothing else shows that "
                "it was begun with these settings.",
                remedy="Give the settings that it was begun with, bring the file back from a copy, or use another "
                "output.",
            )
        store.write(layout.CONFIG, sealed(described))
        return
    if lines := differences(before["identity"], plan.identity):
        raise ConfigError(
            f"{store.url} was begun with other settings:\n    " + "\n    ".join(lines),
            remedy="Use the same settings to go on, or another --out for a new dataset.",
        )


def has_begun(store: Store) -> bool:
    """Whether anything was sampled: from then on the settings are fixed."""
    return bool(store.list("manifests/") or store.list(layout.JOURNALS))


def begun_with(store: Store) -> BuildDescription | None:
    """The config.json of an output; None where there is none, or a damaged one."""
    try:
        found = read_config(store)
    except (MissingKeyError, DatasetError):
        return None
    return found if {"digest", "identity"} <= found.keys() else None


def _was_begun_by(store: Store, plan: Plan) -> bool:
    """Whether the screening's report, or a finished shard, tells that the output is this plan's."""
    with suppress(MissingKeyError, DatasetError):
        if read_screening(store).get("plan") == plan.digest:
            return True
    for key in store.list("manifests/"):
        with suppress(DatasetError):
            if read_manifest(store.read(key), key).identity == plan.digest:
                return True
    return False


def missing_shards(store: Store, plan: Plan) -> list[int]:
    """Numbers of the shards that have no manifest yet."""
    there = set(store.list("manifests/"))
    return [i for i in range(plan.config.shards) if layout.manifest(i, plan.config.shards) not in there]


def finish(store: Store, plan: Plan, run: RunFigures) -> BuildSummary:
    """Write summary.json, last of all: the totals of all manifests, and what the finishing run took.

    What killed workers left is removed before. Raises DatasetError where a file of the output is gone or damaged.
    """
    store.delete_prefix(layout.JOURNALS)  # a kill right after a shard's manifest leaves its journal
    store.sweep()
    store.delete(PROGRESS)  # of a run that was killed after its last shard
    before: BuildSummary | None = None
    with suppress(MissingKeyError, DatasetError):  # a damaged one is written anew
        before = read_summary(store)
    # Raise DatasetError where a file of a finished shard is gone, or one that the summary covers is damaged.
    if gone := sorted(layout.expected(plan.config.shards) - {layout.SUMMARY} - set(store.list())):
        raise DatasetError(
            f"{store.url}/{gone[0]} is gone ({len(gone)} of the output's files are).",
            remedy="Bring it back from a copy; or delete the manifest of its shard and run the same command again: the "
            "shard is rebuilt.",
        )
    for key in damaged(store, before.get("hashes", {}) if before else {}):
        raise DatasetError(f"{store.url}/{key} is gone or damaged.", remedy="Bring it back from a copy.")
    if before and not run["shards"]:
        return before
    totals = summarise(store, plan.config.shards)
    own = {"mmpr_version": __version__, "digest": plan.digest, "run": run}
    summary = cast(BuildSummary, {**own, **totals, **plan.in_summary(store)})
    rollouts = totals["counts"]["rollouts"]
    checked = checked_rollouts(rollouts)
    said = [REHEARSAL_WARNING] if plan.config.rehearsal else []
    said += few_right(rollouts.get("correct", 0), checked) if plan.samples else []
    said += summary.get("warnings", ())
    said += without_pairs(plan.config.pairing.strategies, totals["counts"]["pairs"])
    if said:
        summary["warnings"] = said
    if plan.config.rehearsal:
        summary["rehearsal"] = True
    summary["hashes"] = hashes(store)
    if recorded := run.get("engine", {}).get("recorded"):
        used = sum(totals["counts"]["rollouts"].values())
        unusable = run["engine"]["rejected_lines"]
        summary["recorded"] = {
            "rollouts": recorded,
            "used": used,
            "unused": recorded - used,
            "unusable_lines": unusable,
        }
    store.write(layout.SUMMARY, sealed(summary))
    return summary


def absolute_build_paths(config: BuildConfig) -> BuildConfig:
    """The settings with local paths made absolute: Ray workers have other working directories."""

    def declared(source: str) -> str:
        return absolute_url(source) if source.endswith((".yaml", ".yml")) or declarations_in(source) else source

    against = config.screening.against
    screening = {"against": against and tuple(map(declared, against))}
    engine = {"rollouts": absolute_url(config.engine.rollouts), "model": absolute_model(config.engine.model)}
    return config.model_copy(
        update={
            "sources": tuple(map(declared, config.sources)),
            "mixture": {declared(source): share for source, share in config.mixture.items()},
            "screening": config.screening.model_copy(update=screening),
            "data_root": absolute_url(config.data_root),
            "out": absolute_url(config.out),
            "engine": config.engine.model_copy(update=engine),
        }
    )
