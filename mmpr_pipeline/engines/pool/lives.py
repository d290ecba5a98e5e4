"""The lives of engine actors: which serve, which died of what, and bringing them back or giving them up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from mmpr_pipeline.core.backoff import seconds_to_wait
from mmpr_pipeline.core.errors import EngineError, MmprError
from mmpr_pipeline.engines.actors.messages import Cause, EngineLost
from mmpr_pipeline.engines.engine import EngineInfo
from mmpr_pipeline.engines.pool.calls import called

log = logging.getLogger(__name__)

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
