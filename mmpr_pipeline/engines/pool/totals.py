"""Counts over all actors of a pool and all their lives."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import Any

from mmpr_pipeline.engines.engine import EngineStats

log = logging.getLogger(__name__)

STATS_SECONDS = 2.0
"""Longest wait for an actor's counts; one without a place in the cluster does not answer."""

_OF_THIS_MOMENT = {"in_flight", "sequences", "kv_use", "capacity"}
_LARGEST = {"recorded", "rejected_lines", "load_seconds"}
_COUNTED_HERE = {"actors", "waiting", "lost", "restarts"}


class Totals:
    """What one pool has heard of its actors' counts; the last that was heard of a life stays counted after its end."""

    def __init__(self, actors: list[Any]) -> None:
        self._actors = actors
        self._lives: list[dict[str, EngineStats]] = [{} for _ in actors]
        self._told = ""

    async def now(self) -> EngineStats:
        """Ask every actor, wait at most `STATS_SECONDS`, and add up."""
        from ray.exceptions import ActorDiedError, RayError

        answers = await asyncio.gather(
            *(asyncio.wait_for(_asked(actor), timeout=STATS_SECONDS) for actor in self._actors), return_exceptions=True
        )
        alive: list[EngineStats] = []
        lost = 0
        for lives, answer in zip(self._lives, answers, strict=True):
            if isinstance(answer, RayError | TimeoutError):
                lost += isinstance(answer, ActorDiedError)
                continue
            if isinstance(answer, BaseException):
                raise answer
            born, stats = answer
            lives[born] = stats
            alive.append(stats)
        total = EngineStats(actors=len(alive), lost=lost, waiting=len(self._actors) - len(alive) - lost)
        # One for each life after the first, and one if the first that was seen was not an actor's first.
        total.restarts = sum(len(lives) - 1 + next(iter(lives.values())).restarts for lives in self._lives if lives)
        seen = [stats for lives in self._lives for stats in lives.values()]
        for name in asdict(total).keys() - _COUNTED_HERE:
            if name in _OF_THIS_MOMENT:
                value = sum(getattr(stats, name) for stats in alive)
            elif name in _LARGEST:
                value = max((getattr(stats, name) for stats in seen), default=0)
            else:
                value = sum(getattr(stats, name) for stats in seen)
            setattr(total, name, round(value, 1) if isinstance(value, float) else value)
        total.kv_use = round(sum(stats.kv_use for stats in alive) / max(1, len(alive)), 3)
        # A line in the log whenever engines come, go or are given up.
        told = f"{total.actors} engines answer, {total.waiting} are waited for, {total.lost} are given up"
        if told != self._told and (self._told or total.waiting or total.lost):
            log.warning("%s", told)
        self._told = told
        return total


async def _asked(actor: Any) -> tuple[str, EngineStats]:
    answer: tuple[str, EngineStats] = await actor.stats.remote()
    return answer
