"""What a build writes of itself into its output: config.json before the first shard, summary.json after the last."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import cast

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.core.files import sealed
from mmpr_pipeline.core.logs import FOLDER
from mmpr_pipeline.core.settings import differences
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import checked_rollouts, read_manifest
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
from mmpr_pipeline.models.resolve import REHEARSAL_WARNING
from mmpr_pipeline.pipeline.choosing import few_right
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.watch.progress_file import KEY as PROGRESS
from mmpr_pipeline.storage import MissingKeyError, Store


def log_folder(store: Store) -> Path | None:
    """Where an output's logs are kept; None for one that is on no disk."""
    return store.folder / FOLDER if store.folder else None


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
    return [i for i in range(plan.config.shards) if layout.shard_key("manifest", i, plan.config.shards) not in there]


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
