"""The driver of a build: plan, claim the output, make the missing shards, sum up. Holds no question and no rollout."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.json_files import json_bytes
from mmpr_pipeline.core.settings import differences
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.engines.owner import EngineOwner
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.plans.from_rollouts import Plan
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_plan
from mmpr_pipeline.pipeline.watch import progress_file
from mmpr_pipeline.pipeline.watch.progress_file import Beacon
from mmpr_pipeline.sources.declaration.catalog import declarations_in
from mmpr_pipeline.storage import MissingKeyError, Store, absolute_model, absolute_url, open_store
from mmpr_pipeline.storage.lock import lease


class View(Protocol):
    """What shows a build to its user."""

    def stage(self, text: str) -> None:
        """A new stage of the build begins."""

    def planned(self, plan: Plan, missing: int) -> None:
        """The plan is made; `missing` shards are to be worked on."""

    def progress(self, finished: int, tally: dict[str, int]) -> None:
        """So many of the missing shards are finished; counts over all of them."""


def run_build(config: BuildConfig, view: View) -> dict[str, Any]:
    """Make the dataset that the settings describe, or finish it, and return its summary.

    Raises ConfigError, SourceError, EngineError or StoreError, each before any work where that is possible. May be
    killed at any time; the same call goes on from there.
    """
    compared = ", and the evaluation sets to compare them with (--no-decontaminate leaves those out)"
    view.stage(f"reading sources{compared * config.screening.decontaminate}")
    config = absolute(config)
    store = open_store(config.out)
    return run_plan(make_plan(config, begun_with(store) if has_begun(store) else None), view)


def run_plan(plan: Plan, view: View) -> dict[str, Any]:
    """Carry out a plan: claim its output, make what is missing, sum up."""
    store = open_store(plan.config.out)
    store.check_writable()
    started = time.monotonic()
    with lease(store) as still_held:
        store.sweep()
        claim(store, plan)
        missing = missing_shards(store, plan)
        if not missing:
            view.planned(plan, 0)
        run = _make(plan, missing, view, still_held) if missing else {}
        seconds = time.monotonic() - started
        return finish(store, plan, {"seconds": round(seconds, 1), "shards": len(missing), **run})


def _make(plan: Plan, missing: list[int], view: View, still_held: Callable[[], None]) -> dict[str, Any]:
    """Make the missing shards on Ray; the counts of what this run did, and what its engines say of themselves."""
    from mmpr_pipeline.cluster.session import ray_session
    from mmpr_pipeline.pipeline.workers.screening_pass import screen
    from mmpr_pipeline.pipeline.workers.shards_on_ray import work_shards

    tally: dict[str, int] = {}
    engines = EngineOwner(plan.start)

    def progress(finished: int, now: dict[str, int]) -> None:
        still_held()
        tally.update(now)
        view.progress(finished, now)
        beacon.show(finished, tally, engines.stats)

    view.stage("starting Ray")
    with ray_session(plan.config.address) as cpus:
        if isinstance(plan, BuildPlan):
            plan = screen(plan, plan.config.workers or cpus, view.stage, still_held)
        view.planned(plan, len(missing))
        beacon = Beacon(open_store(plan.config.out), plan, missing)
        if isinstance(plan, BuildPlan):
            view.stage(f"starting the {plan.config.engine.name} engine")
        workers = plan.config.workers or min(len(missing), cpus)
        with engines:
            given = plan.config.engine.name == "given"
            view.stage("sampling" if engines.engine and not given else "checking and pairing")
            work_shards(plan, missing, engines.engine, workers, progress)
            beacon.end()
            if engines.engine is None:
                return tally
            return {**tally, "engine": asdict(engines.stats()), "runs_on": engines.engine.info.runs_on}


def claim(store: Store, plan: Plan) -> None:
    """Write config.json, or refuse an output that was begun with other settings, with the difference shown."""
    described = {
        "mmpr_version": __version__,
        "digest": plan.digest,
        "identity": plan.identity,
        "config": plan.config.model_dump(mode="json"),
        "sources": plan.described_sources,
        **plan.described_screening,
    }
    if not has_begun(store):  # nothing was made yet, whatever a stopped run meant to make
        if (before := begun_with(store)) is not None and before["digest"] != plan.digest:
            store.delete_prefix(layout.SCREENING)
        store.write(layout.CONFIG, json_bytes(described))
        return
    if not store.exists(layout.CONFIG):
        raise ConfigError(f"{store.url} holds shards but no {layout.CONFIG}.", remedy="Use another output.")
    before = json.loads(store.read(layout.CONFIG))["identity"]
    if lines := differences(before, plan.identity):
        raise ConfigError(
            f"{store.url} was begun with other settings:\n    " + "\n    ".join(lines),
            remedy="Use the same settings to go on, or another --out for a new dataset.",
        )


def has_begun(store: Store) -> bool:
    """Whether anything was sampled: from then on the settings are fixed."""
    return bool(store.list("manifests/") or store.list(layout.JOURNALS))


def begun_with(store: Store) -> dict[str, Any] | None:
    """The config.json of an output; None where there is none, or none that can be read."""
    try:
        found = json.loads(store.read(layout.CONFIG))
    except (MissingKeyError, ValueError):
        return None
    return found if isinstance(found, dict) and {"digest", "identity"} <= found.keys() else None


def missing_shards(store: Store, plan: Plan) -> list[int]:
    """Numbers of the shards that have no manifest yet."""
    there = set(store.list("manifests/"))
    return [i for i in range(plan.config.shards) if layout.manifest(i, plan.config.shards) not in there]


def finish(store: Store, plan: Plan, run: dict[str, Any]) -> dict[str, Any]:
    """Write summary.json, last of all: the totals of all manifests, and what the finishing run took."""
    store.delete_prefix(layout.JOURNALS)  # a kill right after a shard's manifest leaves its journal
    store.delete_prefix(progress_file.KEY)  # and one right after the last manifest, its last progress
    if not run["shards"] and store.exists(layout.SUMMARY):
        return json.loads(store.read(layout.SUMMARY))
    totals = summarise(store, plan.config.shards)
    summary = {"mmpr_version": __version__, "digest": plan.digest, "run": run, **totals, **plan.told(store)}
    if recorded := run.get("engine", {}).get("recorded"):
        used = sum(totals["counts"]["rollouts"].values())
        unusable = run["engine"]["rejected_lines"]
        summary["recorded"] = {
            "rollouts": recorded,
            "used": used,
            "unused": recorded - used,
            "unusable_lines": unusable,
        }
    store.write(layout.SUMMARY, json_bytes(summary))
    return summary


def absolute(config: BuildConfig) -> BuildConfig:
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
