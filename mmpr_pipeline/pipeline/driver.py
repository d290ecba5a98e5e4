"""The driver of a build: plan, claim the output, make the missing shards, sum up. Holds no question and no rollout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Protocol, cast

from mmpr_pipeline.core.errors import MmprError, StoreError
from mmpr_pipeline.core.logs import keep_logs
from mmpr_pipeline.core.masking import masked
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import BuildSummary, RunFigures
from mmpr_pipeline.engines.engine import EngineStats
from mmpr_pipeline.engines.start import EngineOwner
from mmpr_pipeline.pipeline.choosing import choose
from mmpr_pipeline.pipeline.config import BuildConfig, absolute_build_paths
from mmpr_pipeline.pipeline.output import begun_with, claim_output, finish, has_begun, log_folder, missing_shards
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.watch.progress_file import KEY as PROGRESS
from mmpr_pipeline.pipeline.watch.progress_file import ProgressFile
from mmpr_pipeline.storage import Store, open_store


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
        watched.stage(f"reading sources{compared * (config.screening.decontaminate != 'none')}")
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
