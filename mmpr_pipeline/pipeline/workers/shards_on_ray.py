"""The build on Ray: shards are tasks, progress is an actor; Ray restarts what dies, the journal keeps what was made."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from mmpr_pipeline.cluster.session import end, result
from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.core.logs import attach
from mmpr_pipeline.core.schemas import leave_pandas_out
from mmpr_pipeline.engines.actors.routing import questions_each
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.watch.tally import BuildMeter, Tally, TallyBoard
from mmpr_pipeline.pipeline.workers.shard import IN_FLIGHT, Slots, work_shard
from mmpr_pipeline.rollouts.sampling import first_round

REPORT_EVERY = 0.5
"""Seconds between a worker's reports and between looks at the board."""

SHARD_RETRIES = 5
"""Times that Ray starts a shard again whose worker or node died."""

MOST_TOGETHER = 32
"""Most shards that a worker has in hand at once: each has its files and its journal open."""


Progress = Callable[[int, dict[str, int]], None]
"""Called with the number of finished shards and the tally over all shards."""


def work_shards(plan: Plan, shards: Sequence[int], engine: Engine | None, workers: int, progress: Progress) -> None:
    """Make the shards, `workers` at once, in the given order. Raises the first error that a shard cannot survive."""
    board = ray.remote(num_cpus=0, max_restarts=-1)(_MeteredBoard).remote()
    each = in_flight(plan.config, engine, workers)
    shared = ray.put(plan.with_config(plan.config.model_copy(update={"in_flight": each})))
    waiting = deque(bundles(shards, plan.rows / plan.config.shards, each or IN_FLIGHT, workers))
    finished, told = 0, 0.0
    running: dict[Any, Sequence[int]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                bundle = waiting.popleft()
                running[_shard_task.remote(shared, bundle, engine, board)] = bundle
            done, _ = ray.wait(list(running), timeout=REPORT_EVERY)
            for ref in done:
                result(ref, partial(_lost, running[ref]))
                finished += len(running.pop(ref))
            if time.monotonic() - told >= REPORT_EVERY or not (waiting or running):
                told = time.monotonic()
                progress(finished, _total(board))
    finally:
        end(list(running))


def in_flight(config: BuildConfig, engine: Engine | None, workers: int) -> int | None:
    """Questions that each worker keeps in flight: as set, else as many as fill the engines that say what they hold."""
    if config.in_flight or engine is None or not engine.info.sequences:
        return config.in_flight
    sampling = config.sampling
    first = min(sampling.samples, first_round(config.pairing.max_pairs)) if sampling.adaptive else sampling.samples
    return questions_each(engine.info, workers, first)


def bundles(shards: Sequence[int], rows: float, wanted: int, workers: int) -> list[Sequence[int]]:
    """The shards that a worker takes in hand together.

    One by one, where a shard of `rows` questions has the `wanted` questions in flight. Of smaller shards enough that,
    while the last questions of some end, others fill the engines.
    """
    size = 1 if rows >= wanted else math.ceil(2 * wanted / max(rows, 1e-9))
    size = max(1, min(size, MOST_TOGETHER, len(shards) // workers))
    return [shards[start : start + size] for start in range(0, len(shards), size)]


class _MeteredBoard(TallyBoard):
    """The board, which tells Ray's metrics what it tells the driver."""

    def __init__(self) -> None:
        super().__init__()
        self._meter = BuildMeter()

    def total(self) -> dict[str, int]:
        """See `Board.total`."""
        total = super().total()
        self._meter.show(total)
        return total


@ray.remote(num_cpus=1, max_retries=SHARD_RETRIES)
def _shard_task(plan: Plan, shards: Sequence[int], engine: Engine | None, board: Any) -> None:
    """Shards in a Ray worker, side by side; their manifests are in the store, so nothing comes back."""
    attach("worker")
    leave_pandas_out()
    asyncio.run(_work_together(plan, shards, engine, board))


async def _work_together(plan: Plan, shards: Sequence[int], engine: Engine | None, board: Any) -> None:
    """At most as many questions in flight over all the shards as one shard alone may have; the first error ends all."""
    slots = Slots(plan.config.in_flight or IN_FLIGHT)
    tasks = [asyncio.create_task(_work_reported(plan, shard, engine, board, slots)) for shard in shards]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # journals are closed


async def _work_reported(plan: Plan, shard: int, engine: Engine | None, board: Any, slots: Slots) -> None:
    latest: Tally = Counter()
    told = 0.0

    def report(tally: Tally) -> None:
        nonlocal latest, told
        latest = tally
        if time.monotonic() - told >= REPORT_EVERY:
            told = time.monotonic()
            board.put.remote(shard, dict(tally))

    await work_shard(plan, shard, engine, report, slots)
    board.put.remote(shard, dict(latest), True)


def _lost(shards: Sequence[int], error: str) -> EngineError:
    named = f"shard {shards[0]}" if len(shards) == 1 else f"shards {shards[0]} to {shards[-1]}"
    return EngineError(
        f"The worker of {named} died {SHARD_RETRIES + 1} times: {error}.",
        remedy="Most often memory: lower --in-flight or --workers. The same command goes on from here.",
    )


def _total(board: Any) -> dict[str, int]:
    """The board's sum; empty where the board is just being restarted: progress is not worth an error."""
    try:
        found: dict[str, int] = ray.get(board.total.remote(), timeout=5)
        return found
    except (GetTimeoutError, RayError):
        return {}
