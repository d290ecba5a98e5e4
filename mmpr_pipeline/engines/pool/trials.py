"""Finding the question that kills engines, and telling it from engines that have too much to do.

A request that was in flight at two deaths is a suspect. Suspects are served in groups with nothing else in their
engine. A group that kills it is tried again in halves: a group of one that kills is poison, found in log2(n) deaths.
Where smaller groups are answered there was no poison, only too much at once: groups then stay near the size that the
engine bears, and nobody is rejected. After each death, twice as many groups must be answered before a larger one is
tried, so the deaths of an overload grow with the logarithm of its groups.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.engines.actors.messages import Answer, Request

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
"""Those who lost their engine together are suspected together: they are waited for this long."""


@dataclass(frozen=True)
class Suspect:
    """A request that may kill engines, and who waits for its answer."""

    request: Request
    answer: asyncio.Future[Answer]


TryGroup = Callable[[Sequence[Suspect]], Awaitable[bool]]
"""Serve a group alone in an engine, setting answers as they come; False where the engine died of it."""


class Trials:
    """The suspects of one pool, tried by `runners` groups at a time."""

    def __init__(self, try_group: TryGroup, runners: int) -> None:
        self._try_group = try_group
        self._suspects: deque[Suspect] = deque()
        self._runners = runners
        self._running: set[asyncio.Task[None]] = set()
        self._most: int | None = None
        """Requests of a group; None until the first one is formed."""
        self._too_many: int | None = None
        """Requests of the smallest group that killed its engine; None where that is not known any more."""
        self._needed = self._answered = 0
        """Groups that must be answered in a row before a larger one is tried, and those that were."""

    async def verdict(self, request: Request) -> Answer:
        """The answer to a suspect; raises ItemRejected, with the reason `poison` where it killed an engine alone."""
        suspect = Suspect(request, asyncio.get_running_loop().create_future())
        self._suspects.append(suspect)
        if len(self._running) < self._runners:
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await suspect.answer

    async def _run(self) -> None:
        """Try groups until no suspect is left. An error of the pool (no engine will come back) goes to all of them."""
        await asyncio.sleep(GATHER_SECONDS)
        group: list[Suspect] = []
        try:
            while group := self._next_group():
                if await self._try_group(group):
                    self._answered += 1
                    if self._most and self._answered >= self._needed:
                        larger = 2 * self._most if self._too_many is None else (self._most + self._too_many) // 2
                        if larger == self._most:
                            self._too_many = None  # the requests may have become shorter since
                        self._most, self._answered = larger, 0
                else:
                    self._died(group)
        except BaseException as error:
            for suspect in [*group, *self._suspects]:
                if not suspect.answer.done():
                    suspect.answer.set_exception(error)
            self._suspects.clear()
            if not isinstance(error, Exception):
                raise

    def _next_group(self) -> list[Suspect]:
        waiting = [suspect for suspect in self._suspects if not suspect.answer.done()]  # else it was cancelled
        if not waiting:
            self._most = None
        elif self._most is None:
            self._most = max(1, len(waiting) // 2)  # all of them together have killed twice
        self._suspects = deque(waiting[self._most or 0 :])
        return waiting[: self._most or 0]

    def _died(self, group: list[Suspect]) -> None:
        left = [suspect for suspect in group if not suspect.answer.done()]
        self._answered = 0
        if len(group) == 1 and left:
            log.warning("Question %s is rejected as poison", left[0].request.question.question_id)
            left[0].answer.set_exception(ItemRejected("poison", "the engine died of this question alone"))
            self._needed, self._too_many = 0, None
            return
        self._too_many = len(group)
        self._most, self._needed = max(1, len(group) // 2), max(1, 2 * self._needed)
        log.warning(
            "An engine died of %d suspected requests, %d unanswered; next %d", len(group), len(left), self._most
        )
        self._suspects.extendleft(reversed(left))
