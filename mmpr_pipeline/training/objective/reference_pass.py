"""Scoring the reference once, before training: prefix-shared, each shard by all ranks together, kept beside the shards.

A pass that is interrupted goes on with the first shard that has no column file. Where the dataset cannot be written to,
the columns are kept in the run's directory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage import Store, open_store
from mmpr_pipeline.training.data.encode import PairReject, encoding_digest
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.reference_column import (
    ReferenceKey,
    ReferenceRow,
    read_reference,
    weights_digest,
    write_reference,
)
from mmpr_pipeline.training.data.stream import Stream, idle_batch, of_one_step, prefetch
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.objective.reference import reference_rows
from mmpr_pipeline.training.policy.load import ModelFolder
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy

OVER_BUDGET = ("pair_over_budget", "prompt_over_budget")
Progress = Callable[[int, int], None]


def reference_key(model: ModelFolder, max_tiles: int, dtype: str) -> ReferenceKey:
    """By what a model scores pairs."""
    return ReferenceKey(
        model.label, model.revision, weights_digest(model.path), encoding_digest(model.path, max_tiles), dtype
    )


def column_store(dataset: Store, run_dir: Path) -> Store:
    """Where column files are kept: the dataset, or the run where the dataset is read-only."""
    try:
        dataset.check_writable()
    except StoreError:
        return open_store(run_dir)
    return dataset


def score_shards(
    policy: PrefixSharedPolicy,
    stream: Stream,
    world: World,
    store: Store,
    key: ReferenceKey,
    progress: Progress,
    stopping: Callable[[], bool] = bool,
) -> Callable[[int], dict[str, ReferenceRow]]:
    """Score the shards that have no column file yet; gives what reads a shard's rows, by pair id.

    Raises Stopped where any rank is asked to stop; shards that are scored stay so.
    """
    num_shards = stream.shards.of
    missing = world.on_main(
        lambda: [s for s in range(num_shards) if _incomplete(store, key, s, num_shards, stream.budget)]
    )
    for done, shard in enumerate(missing):
        progress(done, len(missing))
        rows = _score(policy, stream, world, shard, stopping)
        world.on_main(partial(write_reference, store, key, shard, num_shards, rows))
    if missing:
        progress(len(missing), len(missing))

    @lru_cache(maxsize=16)
    def rows_of(shard: int) -> dict[str, ReferenceRow]:
        return read_reference(store, key, shard, num_shards) or {}

    return rows_of


def _incomplete(store: Store, key: ReferenceKey, shard: int, num_shards: int, budget: int) -> bool:
    """Whether a shard must be scored: it never was, or pairs were too long for a smaller budget than today's."""
    rows = read_reference(store, key, shard, num_shards)
    if rows is None:
        return True
    reasons = (row.reason.partition(":") for row in rows.values() if row.reason)
    return any(name in OVER_BUDGET and int(then or 0) < budget for name, _, then in reasons)


def _score(
    policy: PrefixSharedPolicy, stream: Stream, world: World, shard: int, stopping: Callable[[], bool]
) -> list[ReferenceRow]:
    """Rows of all the shard's pairs, in the shard's order, on every rank."""
    opened = stream.shards[shard]
    slices = [Slice(shard, group, 0, size) for group, size in enumerate(opened.sizes)]
    mine: list[ReferenceRow] = []
    rejects: list[PairReject] = []
    with closing(prefetch(stream.steps([(shard, slices)]))) as events:
        for event in world.in_turns(of_one_step(events, rejects), stopping):
            rows = list(reference_rows(policy, [event.batch if event else idle_batch()]))
            mine += rows if event else []
    for reject in rejects:
        budget = f":{stream.budget}" if reject.reason in OVER_BUDGET else ""
        mine.append(ReferenceRow(reject.pair_id, None, None, 0, 0, reject.reason + budget))
    rows_by_id = {row.pair_id: row for part in world.all_gather(mine) for row in part}
    pairs = (pair.pair_id for group in range(len(slices)) for pair in opened.pairs(group))
    return [rows_by_id[pair_id] for pair_id in pairs]
