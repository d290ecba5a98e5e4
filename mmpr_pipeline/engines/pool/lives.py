"""The lives of engine actors: waiting for the first, which serve, which died of what, and bringing them back.

What was counted in a life stays counted after its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from mmpr_pipeline.core.backoff import seconds_to_wait
from mmpr_pipeline.core.errors import EngineError, MmprError
from mmpr_pipeline.engines.actors.messages import Cause, EngineLost, called
from mmpr_pipeline.engines.engine import EngineInfo, EngineStats

log = logging.getLogger(__name__)

GRACE = 5.0
"""Least seconds that engines have to be ready after the first one."""

SAY_EVERY = 30.0
"""Seconds between two lines about what is waited for."""


async def first_engines(actors: Sequence[Any], why_waiting: Callable[[], str]) -> dict[int, EngineInfo]:
    """The engines that are ready: the first one, and as long again for the others.

    An actor that the cluster has no room for now joins later. Raises EngineError as soon as an engine says that it
    cannot start, or where all died of starting.
    """
    began = time.monotonic()
    calls = [asyncio.ensure_future(called(actor.ready.remote())) for actor in actors]
    telling = asyncio.create_task(_say(calls, why_waiting))
    try:
        await _ready(calls, asyncio.FIRST_COMPLETED, None)
        await _ready(calls, asyncio.ALL_COMPLETED, max(GRACE, time.monotonic() - began))
        well = {which: call.result() for which, call in enumerate(calls) if call.done() and not call.exception()}
        if len(well) < len(calls):
            log.warning("%d of %d engines serve; the others join later: %s", len(well), len(calls), why_waiting())
        return well
    finally:
        telling.cancel()
        for call in calls:
            call.cancel()


async def _ready(calls: Sequence[asyncio.Future[EngineInfo]], until: str, timeout: float | None) -> None:
    """Wait for the first call of `ready` that comes back well, or for all of them."""
    from ray.exceptions import RayActorError

    pending = {call for call in calls if not call.done()}
    while pending:
        done, pending = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for call in done:
            error = call.exception()
            if error is not None and not isinstance(error, RayActorError):
                raise error
        well = any(call.done() and not call.exception() for call in calls)
        if not done or (well and until == asyncio.FIRST_COMPLETED):
            return
    if all(call.exception() for call in calls):
        raise EngineError(
            "Every engine actor died while it was starting.",
            remedy="Look at the cluster's logs; most often it is memory: lower --actors or engine.kv_cache_gib.",
        )


async def _say(calls: Sequence[asyncio.Future[Any]], why_waiting: Callable[[], str]) -> None:
    while True:
        await asyncio.sleep(SAY_EVERY)
        log.warning("%d engines are not ready yet: %s", sum(not call.done() for call in calls), why_waiting())


REVIVALS = 12
"""Times in a row that a dead actor may fail to come back, over two to three minutes, before it is given up."""

MEMORY_DEATHS = 6
"""Deaths for want of memory that lower what an engine decodes at once, to a 64th."""

LONGEST_DELAY = 30.0
ALL_LOST_SECONDS = 1800.0
"""How long a build waits for an engine when all are lost: as long as a spot market may take to give a node again."""


class Lives:
    """What one pool knows of its actors."""

    def __init__(self, actors: list[Any], came_back: Callable[[int, EngineInfo], None]) -> None:
        """`came_back` is called when an actor serves again, with what it can hold now."""
        self._actors = actors
        self._came_back = came_back
        self.reviving: dict[int, asyncio.Task[None]] = {}
        """Actors out of use, each with the task that brings it back; of one that was given up the task has failed."""
        self.deaths: Counter[str] = Counter()
        """Deaths that this pool met, by cause."""
        self._memory_deaths: Counter[int] = Counter()
        self._said_none = False

    def lost(self, which: int, cause: Cause, detail: str = "", rollouts: int = 0) -> bool:
        """An actor does not answer: bring it back, beside all else. False where that was known."""
        if which in self.reviving:
            return False
        if cause != "not_loaded":
            self.deaths[cause] += 1
            log.warning("Engine %d %s with %d rollouts of this worker in flight. %s", which, cause, rollouts, detail)
        self._memory_deaths[which] += cause == "out_of_memory"
        self.reviving[which] = asyncio.create_task(self._revive(which))
        return True

    def can_decode_less(self, which: int) -> bool:
        """Whether the next life of an engine that ran out of memory will decode fewer rollouts at once."""
        return self._memory_deaths[which] <= MEMORY_DEATHS

    def join(self, whiches: Iterable[int]) -> None:
        """These actors have not served yet: let them join when they can."""
        for which in whiches:
            self.lost(which, "not_loaded")

    async def alive(self) -> list[int]:
        """The actors in use; waits where there are none, and raises EngineError where there will be none."""
        while not (alive := [which for which in range(len(self._actors)) if which not in self.reviving]):
            pending = [task for task in self.reviving.values() if not task.done()]
            if not pending:
                for task in self.reviving.values():
                    task.result()
            if not self._said_none:
                self._said_none = True
                log.warning("No engine serves now; %d are being started", len(pending))
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED, timeout=ALL_LOST_SECONDS)
            if not done:
                raise EngineError(
                    f"All engine actors are lost, and none came back in {ALL_LOST_SECONDS:.0f} s.",
                    remedy="Give the cluster nodes again, then run the same command: what is finished is kept.",
                )
        return alive

    async def settled(self) -> None:
        """Wait until every actor serves; raises EngineError where one was given up."""
        while self.reviving:
            await asyncio.gather(*self.reviving.values())

    async def _revive(self, which: int) -> None:
        """Wait until Ray has restarted an actor and its engine is loaded. One that fails again and again is killed, so
        that its GPU is free, and stays out of use."""
        from ray.exceptions import ActorUnavailableError, RayActorError

        began, refused, why = time.monotonic(), 0, ""
        actor = self._actors[which]
        while refused < REVIVALS:
            try:
                info = await called(actor.ready.remote(again=True, memory_deaths=self._memory_deaths[which]))
            except ActorUnavailableError:  # Ray is at it
                await asyncio.sleep(0.5)
                continue
            except (EngineLost, MmprError) as error:
                why = str(error)
            except RayActorError:
                why = why or "its process died while it started"
            else:
                del self.reviving[which]
                self._said_none = False
                log.warning("Engine %d serves after %.1f s and %d tries", which, time.monotonic() - began, refused + 1)
                self._came_back(which, info)
                return
            refused += 1
            log.warning("Engine %d did not start, try %d of %d: %s", which, refused, REVIVALS, why)
            await asyncio.sleep(seconds_to_wait(refused, first=0.1, longest=LONGEST_DELAY))
        import ray

        with contextlib.suppress(Exception):  # it may be dead already
            ray.kill(actor, no_restart=True)
        log.error("Engine %d is given up after %d tries, and its actor killed: %s", which, refused, why)
        raise EngineError(
            f"An engine actor died and does not come back: {why}",
            remedy="Look at the cluster's nodes and logs, then run the same command again: what is finished is kept.",
        )


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
