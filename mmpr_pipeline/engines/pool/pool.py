"""Engine actors as one engine: where a request goes, and what happens when an actor dies.

A request goes to the actor with the least outstanding tokens, a question's later requests to the one that has its image
and prefix cached (`routing`). When an actor dies, what it had in flight is sent again, and the actor is brought back
(`lives`). One of those requests may be what killed it, so those that were lost twice are tried apart from the others
(`trials`): the one that kills an engine alone is rejected as `poison`, and no innocent one ever is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.actors.messages import Answer, Cause, EngineLost, Request, Served, called
from mmpr_pipeline.engines.actors.routing import FEW, ExpectedWork, Router
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.pool.lives import Lives, Totals, first_engines
from mmpr_pipeline.engines.pool.trials import Suspect, Trials

log = logging.getLogger(__name__)

SUSPICION = 2.0
"""How much speaks against a request when it is tried apart from the others."""

BLAME: dict[Cause, float] = {"died": 1.0, "failed": 1.0, "out_of_memory": 0.25, "not_loaded": 0.0}
"""What each end of an engine adds to it. Of an engine without memory, the next life decodes half as much at once."""

HEAR_SECONDS = 0.5
"""Longest wait for an engine to say what it has to do: a question waits for it."""


class EnginePool:
    """Engine actors as one engine; can be pickled into any worker of the cluster."""

    def __init__(self, actors: list[Any], info: EngineInfo | None = None, joined: frozenset[int] | None = None) -> None:
        self._actors = actors
        self._info = info
        self._joined = frozenset(range(len(actors))) if joined is None else joined
        """Actors that could serve when the pool was opened."""
        self._router = Router(len(actors), info, turn=os.getpid())
        self._waiting: deque[asyncio.Future[None]] = deque()
        """First requests of questions for which all engines are full, in order."""
        self._lives = Lives(actors, self._came_back)
        self._awaits_joining = True
        self._trials = Trials(self._try_group, max(1, len(actors) // 2))
        self._totals = Totals(actors)

    def __reduce__(self) -> tuple[Any, ...]:
        return (EnginePool, (self._actors, self._info, self._joined))

    async def open(self, why_waiting: Callable[[], str] = lambda: "they are loading") -> None:
        """Wait until engines can serve; see `opening.first_engines`."""
        ready = await first_engines(self._actors, why_waiting)
        self._joined = frozenset(ready)
        self._info = ready[min(ready)]
        for which, info in ready.items():
            self._router.holds(info, which)

    @property
    def info(self) -> EngineInfo:
        """What the engines are; all are alike."""
        if self._info is None:
            raise EngineError("The engines were not started.", remedy="Await `open` first.")
        return self._info.model_copy(update={"engines": len(self._actors)})

    @property
    def can_continue(self) -> bool:
        """Whether `continue_without_image` works."""
        return self.info.can_continue

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """See `Engine.sample`; raises ItemRejected('poison') for a question that kills engines."""
        rollouts = cast(list[Rollout], await self._serve(request))
        self._router.lengths.learn(request.question.source, rollouts)
        return rollouts

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """See `Engine.continue_without_image`. The images stay here: they are not used."""
        blind = request.question.model_copy(update={"images": ()})
        return cast(Rollout, await self._serve(request.model_copy(update={"question": blind})))

    async def stats(self) -> EngineStats:
        """Sums over all actors and all their lives, as far as this object has seen them. Starts no engine."""
        return await self._totals.now()

    def kill(self, which: int) -> None:
        """End the process of one actor, for tests and checks of what a death costs; Ray starts it again."""
        import ray

        ray.kill(self._actors[which], no_restart=False)

    async def settled(self) -> None:
        """Wait until every actor serves; raises EngineError where one was given up."""
        await self._lives.settled()

    async def close(self) -> None:
        """End all actors; requests in flight fail."""
        import ray

        for actor in self._actors:
            with contextlib.suppress(Exception):  # it may be dead already
                ray.kill(actor, no_restart=True)

    async def _serve(self, request: Request) -> Answer:
        suspicion = 0.0
        while suspicion < SUSPICION:
            try:
                return await self._try_together(request)
            except EngineLost as lost:
                suspicion += BLAME[lost.cause]
        return await self._trials.verdict(request)

    async def _try_together(self, request: Request) -> Answer:
        """The answer; raises EngineLost where the actor died, or has no engine now."""
        from ray.exceptions import RayActorError

        which, work = await self._place(request)
        outstanding: ExpectedWork | None = None
        try:
            served: Served = await called(self._actors[which].serve.remote(request))
            outstanding = served.outstanding
            return served.answer
        except (EngineLost, RayActorError) as error:
            raise self._lost(which, error) from error
        finally:
            self._free(which, work, outstanding)

    async def _try_group(self, group: Sequence[Suspect]) -> bool:
        """Serve suspects with nothing else in their engine; False where it died after they had begun.

        Out of memory alone is tried again while the engine's next life can decode less at once.
        """
        from ray.exceptions import RayActorError

        while left := [suspect for suspect in group if not suspect.answer.done()]:
            which, work = await self._place(left[0].request)
            began = False
            try:
                async for reference in self._actors[which].serve_trial.remote([each.request for each in left]):
                    answered = await called(reference)
                    began = True
                    if answered is None:
                        continue
                    future, answer = left[answered[0]].answer, answered[1]
                    if future.done():  # it was cancelled
                        continue
                    if isinstance(answer, ItemRejected):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
                return True
            except (EngineLost, RayActorError) as error:
                lost = self._lost(which, error)
                if began and not (lost.cause == "out_of_memory" and self._lives.can_decode_less(which)):
                    return False
            finally:
                self._free(which, work, None)
        return True

    async def _place(self, request: Request) -> tuple[int, ExpectedWork]:
        """An actor for the request, and the work put on its account; waits where all actors are full or dead."""
        question = request.question.question_id
        # Whether it was sampled before: a later round, or a continuation.
        begun = isinstance(request, ContinueRequest) or request.round > 0
        work = self._router.lengths.expect(request)
        waited = False
        while True:
            # The actors in use; waits where there are none, and raises EngineError where there will be none.
            if self._awaits_joining:
                self._awaits_joining = False
                self._lives.join(set(range(len(self._actors))) - self._joined)
            alive = await self._lives.alive()
            # Whoever comes later does not pass those who wait.
            held = self._waiting and not (begun or waited)
            among = [] if held else self._router.candidates(question, alive, begun=begun)
            if len(among) > 1 and len(alive) > FEW:
                await self._hear(among)
            which = self._router.least_busy(among, begun=begun)
            if which is not None:
                self._router.take(which, question, work)
                self._wake()
                return which, work
            if not among:  # else they were filled while they were asked
                await self._wait(first=waited)
                waited = True

    async def _hear(self, whiches: Sequence[int]) -> None:
        """Ask engines what they have to do; of one that does not say it at once, what is known stays.

        Of hundreds of engines a worker hears only now and then: each has a small share of its questions.
        """
        asked = (called(self._actors[which].work_left.remote()) for which in whiches)
        try:
            answers = await asyncio.gather(
                *(asyncio.wait_for(each, HEAR_SECONDS) for each in asked), return_exceptions=True
            )
        except asyncio.CancelledError:
            self._wake()  # it may have been called from the line
            raise
        for which, answer in zip(whiches, answers, strict=True):
            if isinstance(answer, ExpectedWork):
                self._router.heard(which, answer)

    async def _wait(self, first: bool) -> None:
        """Until something has changed; in line, or at its head for who has been there."""
        change = asyncio.get_running_loop().create_future()
        self._waiting.appendleft(change) if first else self._waiting.append(change)
        try:
            await change
        except asyncio.CancelledError:
            if not change.cancelled():
                self._wake()  # the call was for this one, who is gone: the next one is called
            raise

    def _wake(self) -> None:
        """Call the first in line; it calls the next one when it has found a place."""
        while self._waiting:
            change = self._waiting.popleft()
            if not change.done():  # else it was cancelled
                change.set_result(None)
                return

    def _free(self, which: int, work: ExpectedWork, outstanding: ExpectedWork | None) -> None:
        """A request is no longer with an actor, which told what it has left to do."""
        self._router.give(which, work)
        if outstanding is not None:
            self._router.heard(which, outstanding)
        self._wake()

    def _lost(self, which: int, error: Exception) -> EngineLost:
        """An actor does not answer: forget what was in it, and bring it back."""
        lost = error if isinstance(error, EngineLost) else EngineLost("died", type(error).__name__)
        if self._lives.lost(which, lost.cause, lost.detail, self._router.own(which).sequences):
            self._router.lost(which)
        return lost

    def _came_back(self, which: int, info: EngineInfo) -> None:
        self._router.holds(info, which)
        self._wake()
