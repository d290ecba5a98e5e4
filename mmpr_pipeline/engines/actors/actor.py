"""Ray actors that host engines, and how they are started.

An actor is made at once and loads its engine when it is first asked to (`ready`, or any request after a restart), so
that an engine that cannot start raises where it is awaited, and is not restarted for ever by Ray. What dies is
restarted by Ray; the pool sends again what was lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.actors.busy import Busy
from mmpr_pipeline.engines.actors.gate import Gate
from mmpr_pipeline.engines.actors.heartbeat import beat
from mmpr_pipeline.engines.actors.messages import Answer, Request, Served
from mmpr_pipeline.engines.actors.metrics import EngineMeter
from mmpr_pipeline.engines.actors.routing import Lengths, Load
from mmpr_pipeline.engines.engine import Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.engines.settings import EngineSettings

MAX_CONCURRENCY = 10_000
"""Requests that an actor accepts at once; the engine queues them."""


class EngineActor:
    """Hosts one engine in one Ray actor."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._loading = asyncio.Lock()
        self._gate = Gate()
        self._born = f"{os.getpid()}-{time.time_ns()}"
        self._busy = Busy()
        self._heart: asyncio.Task[None] | None = None
        self._lengths = Lengths()
        self._outstanding = Load()

    async def ready(self) -> EngineInfo:
        """Load the engine, if it is not yet; raises EngineError where it cannot start."""
        return (await self._loaded()).info

    async def serve(self, request: Request) -> Served:
        """Answer one request, together with all others in flight."""
        engine, work = await self._loaded(), self._lengths.expect(request)
        self._outstanding += work
        try:
            async with self._gate.together():
                with self._busy:
                    answer = await self._answer(engine, request)
        finally:
            self._outstanding -= work
        self._lengths.learn(request.question.source, answer if isinstance(answer, list) else [])
        return Served(answer, self._outstanding)

    async def serve_alone(self, request: Request) -> AsyncIterator[Answer | None]:
        """Answer one request with nothing else in the engine: None when it begins, then the answer."""
        engine = await self._loaded()
        async with self._gate.alone():
            yield None
            with self._busy:
                answer = await self._answer(engine, request)
            yield answer

    async def stats(self) -> tuple[str, EngineStats]:
        """A name of this life of the actor, and the engine's counts in it."""
        import ray

        stats = await self._engine.stats() if self._engine else EngineStats()
        stats.busy_seconds, stats.alive_seconds = self._busy.seconds, self._busy.alive
        stats.restarts = int(ray.get_runtime_context().was_current_actor_reconstructed)
        return self._born, stats

    async def close(self) -> None:
        """Close the engine."""
        if self._engine is not None:
            await self._engine.close()

    async def _answer(self, engine: Engine, request: Request) -> Answer:
        try:
            if isinstance(request, SampleRequest):
                return await engine.sample(request)
            return await engine.continue_blind(request)
        except EngineError:
            # An engine that served and now cannot is dead weight: die, and let Ray start a fresh one.
            os._exit(70)

    async def _loaded(self) -> Engine:
        async with self._loading:
            if self._engine is None:
                self._engine = await asyncio.to_thread(make_engine, self._settings)
                self._busy = Busy()
                meter = EngineMeter(str(self._settings.name))
                self._heart = asyncio.create_task(beat(self._settings.stall_seconds, self._busy, self._engine, meter))
            return self._engine
