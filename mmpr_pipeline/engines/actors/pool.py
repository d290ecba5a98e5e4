"""Engine actors as one engine: where a request goes, and what happens when an actor dies.

A request goes to the actor with the least outstanding tokens, a question's later requests to the one that has its image
and prefix cached (`routing`). When an actor dies, what it had in flight is sent again. One of those requests may be
what killed it, so a request that was lost twice is tried once more alone: if the actor dies even then, the question is
rejected as `poison`, and no innocent one ever is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.actors.routing import Load, Router
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, EngineStats, SampleRequest

if TYPE_CHECKING:
    from mmpr_pipeline.engines.actors.messages import Answer, Request

DEATHS_BEFORE_ALONE = 2
REVIVALS = 12
"""Times in a row that a dead actor may fail to come back, over about a minute, before it is given up."""

ALL_LOST_SECONDS = 1800.0
"""How long a build waits for an engine when all are lost: as long as a spot market may take to give a node again."""

GRACE = 5.0
"""Least seconds that engines have to be ready after the first one."""


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
        self._reviving: dict[int, asyncio.Task[None]] = {}
        self._awaits_joining = True
        self._one_alone = asyncio.Lock()
        self._lives: list[dict[str, EngineStats]] = [{} for _ in actors]

    def __reduce__(self) -> tuple[Any, ...]:
        return (EnginePool, (self._actors, self._info, self._joined))

    async def open(self) -> None:
        """Wait until engines can serve: the first one, and as long again for the others.

        An actor that the cluster has no room for now joins when it has. Raises EngineError as soon as an engine says
        that it cannot start, or where all died of starting.
        """
        began = time.monotonic()
        calls = [asyncio.ensure_future(self._call(actor.ready.remote())) for actor in self._actors]
        try:
            await self._wait_for_ready(calls, asyncio.FIRST_COMPLETED, None)
            await self._wait_for_ready(calls, asyncio.ALL_COMPLETED, max(GRACE, time.monotonic() - began))
        finally:
            for call in calls:
                call.cancel()

    async def _wait_for_ready(self, calls: Sequence[asyncio.Future[Any]], until: str, timeout: float | None) -> None:
        """Wait for the calls of `ready`, and take in those that came back well."""
        from ray.exceptions import RayActorError

        pending = {call for call in calls if not call.done()}
        while pending:
            done, pending = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for call in done:
                error = call.exception()
                if error is not None and not isinstance(error, RayActorError):
                    raise error
            well = {which for which, call in enumerate(calls) if call.done() and not call.exception()}
            self._joined = frozenset(well)
            if well:
                self._info = calls[min(well)].result()
                self._router.holds(self._info)
            if not done or (well and until == asyncio.FIRST_COMPLETED):
                return
        if not self._joined:
            raise EngineError(
                "Every engine actor died while it was starting.",
                remedy="Look at the cluster's logs; most often it is memory: lower --actors or engine.kv_cache_gib.",
            )

    @property
    def info(self) -> EngineInfo:
        """What the engines are; all are alike."""
        if self._info is None:
            raise EngineError("The engines were not started.", remedy="Await `open` first.")
        return self._info

    @property
    def size(self) -> int:
        """Engine actors."""
        return len(self._actors)

    @property
    def can_continue(self) -> bool:
        """Whether `continue_blind` works."""
        return self.info.can_continue

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """See `Engine.sample`; raises ItemRejected('poison') for a question that kills engines."""
        rollouts = cast(list[Rollout], await self._serve(request))
        self._router.lengths.learn(request.question.source, rollouts)
        return rollouts

    async def continue_blind(self, request: ContinueRequest) -> Rollout:
        """See `Engine.continue_blind`. The images stay here: they are not used."""
        blind = request.question.model_copy(update={"images": ()})
        return cast(Rollout, await self._serve(request.model_copy(update={"question": blind})))

    async def stats(self) -> EngineStats:
        """Sums over all actors and all their lives, as far as this object has seen them."""
        from ray.exceptions import RayError

        answers = await asyncio.gather(
            *(asyncio.wait_for(actor.stats.remote(), timeout=5) for actor in self._actors), return_exceptions=True
        )
        alive, in_flight = 0, 0
        for lives, answer in zip(self._lives, answers, strict=True):
            if isinstance(answer, RayError | TimeoutError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            born, stats = answer
            lives[born] = stats
            alive += 1
            in_flight += stats.in_flight
        seen = [stats for lives in self._lives for stats in lives.values()]
        return EngineStats(
            actors=alive,
            in_flight=in_flight,
            requests=sum(stats.requests for stats in seen),
            rollouts=sum(stats.rollouts for stats in seen),
            tokens=sum(stats.tokens for stats in seen),
            steps=sum(stats.steps for stats in seen),
            busy_seconds=round(sum(stats.busy_seconds for stats in seen), 1),
            alive_seconds=round(sum(stats.alive_seconds for stats in seen), 1),
            restarts=sum(_restarts(lives) for lives in self._lives),
            rejected_lines=max((stats.rejected_lines for stats in seen), default=0),
        )

    async def close(self) -> None:
        """End all actors; requests in flight fail."""
        import ray

        for actor in self._actors:
            with contextlib.suppress(Exception):  # it may be dead already
                ray.kill(actor, no_restart=True)

    async def _serve(self, request: Request) -> Answer:
        for _ in range(DEATHS_BEFORE_ALONE):
            answer = await self._try_together(request)
            if answer is not None:
                return answer
        return await self._try_alone(request)

    async def _try_together(self, request: Request) -> Answer | None:
        """The answer, or None where the actor died."""
        from ray.exceptions import RayActorError

        from mmpr_pipeline.engines.actors.messages import Served

        which, work = await self._place(request)
        outstanding: Load | None = None
        try:
            served = await self._call(self._actors[which].serve.remote(request))
            outstanding = served.outstanding if isinstance(served, Served) else None
            return cast("Answer", served.answer if isinstance(served, Served) else served)
        except RayActorError:
            self._lost(which)
            return None
        finally:
            self._free(which, work, outstanding)

    async def _try_alone(self, request: Request) -> Answer:
        """The answer of an engine that has nothing else in flight; raises ItemRejected('poison') if it dies of it."""
        from ray.exceptions import RayActorError

        async with self._one_alone:
            while True:
                which, work = await self._place(request)
                began = False
                try:
                    async for reference in self._actors[which].serve_alone.remote(request):
                        answer = await self._call(reference)
                        if answer is not None:
                            return cast("Answer", answer)
                        began = True
                except RayActorError:
                    self._lost(which)
                    if began:
                        raise ItemRejected("poison", "the engine died of this question alone") from None
                finally:
                    self._free(which, work, None)

    async def _place(self, request: Request) -> tuple[int, Load]:
        """An actor for the request, and the work put on its account; waits where all actors are full or dead."""
        question, begun = request.question.question_id, _begun(request)
        work = self._router.lengths.expect(request)
        waited = False
        while True:
            alive = await self._alive()
            # Whoever comes later does not pass those who wait.
            which = None if self._waiting and not (begun or waited) else self._choose(question, alive, begun)
            if which is not None:
                self._router.take(which, question, work)
                self._wake()
                return which, work
            await self._wait(first=waited)
            waited = True

    def _choose(self, question: str, alive: list[int], begun: bool) -> int | None:
        return self._router.choose(question, alive, begun=begun)

    async def _alive(self) -> list[int]:
        """The actors in use; waits where there are none, and raises EngineError where there will be none."""
        if self._awaits_joining:
            self._awaits_joining = False
            for which in set(range(len(self._actors))) - self._joined:
                self._lost(which)
        while not (alive := [which for which in range(len(self._actors)) if which not in self._reviving]):
            await self._some_revival()
        return alive

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

    def _free(self, which: int, work: Load, outstanding: Load | None) -> None:
        """A request is no longer with an actor, which told what it has left to do."""
        self._router.give(which, work)
        if outstanding is not None:
            self._router.heard(which, outstanding)
        self._wake()

    def _lost(self, which: int) -> None:
        if which not in self._reviving:
            self._router.lost(which)
            self._reviving[which] = asyncio.create_task(self._revive(which))

    async def _some_revival(self) -> None:
        """Wait until a dead actor is back; raises EngineError where none will be."""
        pending = [task for task in self._reviving.values() if not task.done()]
        if not pending:
            for task in self._reviving.values():
                task.result()
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED, timeout=ALL_LOST_SECONDS)
        if not done:
            raise EngineError(
                f"All engine actors are lost, and none came back in {ALL_LOST_SECONDS:.0f} s.",
                remedy="Give the cluster nodes again, then run the same command: what is finished is kept.",
            )

    async def _revive(self, which: int) -> None:
        """Wait until Ray has restarted an actor and its engine is loaded; an actor that fails stays out of use."""
        from ray.exceptions import ActorUnavailableError, RayActorError

        refused = 0
        while refused < REVIVALS:
            try:
                await self._call(self._actors[which].ready.remote())
                del self._reviving[which]
                self._wake()
                return
            except ActorUnavailableError:  # Ray is at it
                await asyncio.sleep(0.5)
            except RayActorError:
                refused += 1
                await asyncio.sleep(min(0.1 * 2**refused, 5))
        raise EngineError(
            "An engine actor died and does not come back.",
            remedy="Look at the cluster's nodes and logs, then run the same command again: what is finished is kept.",
        )

    async def _call(self, reference: Any) -> Any:
        """The result of a call; an error that the actor raised comes out as it was raised there."""
        from ray.exceptions import RayTaskError

        try:
            return await reference
        except RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise


def _begun(request: Request) -> bool:
    """Whether the question has been sampled before: a later round, or a continuation."""
    return isinstance(request, ContinueRequest) or request.round > 0


def _restarts(lives: dict[str, EngineStats]) -> int:
    """Restarts of an actor: one for each life after the first, and one if the first that was seen was not its first."""
    first = next(iter(lives.values()), None)
    return len(lives) - 1 + first.restarts if first else 0
