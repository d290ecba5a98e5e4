"""Ray actors that host engines, and what ends them.

An actor is made at once and loads its engine when `ready` asks for it, so that an engine that cannot start raises where
it is awaited, and is not restarted for ever by Ray. What dies is restarted by Ray; the pool sends again what was lost.
An engine that fails says so to everyone who waits for it and then ends its process: the next one starts in a fresh
process, with all of the GPU's memory.

A hung engine (a lost GPU, a deadlock in native code) answers nothing and dies of nothing. While requests are in flight
and progress is made, `watch_progress` winds up a timer in C; where it is not wound up again in time, the process ends,
with a traceback of all its threads in its log, and Ray starts a fresh one. The timer needs neither this loop nor the
interpreter's lock, so an engine that blocks both is caught as well.

The workers of a tensor-parallel engine are processes of their own. Where the actor is killed, or ended because native
code hangs, they can live on, stuck in that same code, and hold the memory of their GPUs: the engine that is started
next then finds none. So the actor puts itself at the head of a process group, which its children inherit, and a small
guardian outside of the group waits for the actor's end and kills the rest of the group.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from mmpr_pipeline.core.errors import EngineError, ItemRejected, MmprError
from mmpr_pipeline.core.logs import attach
from mmpr_pipeline.engines.actors.messages import Answer, EngineLost, Request, Served, cause_of
from mmpr_pipeline.engines.actors.metrics import BusyTimer, EngineMeter
from mmpr_pipeline.engines.actors.routing import ExpectedLengths, ExpectedWork
from mmpr_pipeline.engines.engine import Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.registry import engine_kind, make_engine
from mmpr_pipeline.engines.settings import EngineSettings

log = logging.getLogger(__name__)

MAX_CONCURRENCY = 10_000
"""Requests that an actor accepts at once; the engine queues them."""

LAST_WORDS = 0.5
"""Seconds between a failure that is said and the end of its process: answers travel in this time."""

FEWEST_SEQUENCES = 4


class EngineActor:
    """Hosts one engine in one Ray actor."""

    def __init__(self, settings: EngineSettings) -> None:
        attach("engine")
        self._settings = settings
        self._engine: Engine | None = None
        self._failed: EngineLost | None = None
        self._loading = asyncio.Lock()
        self._gate = SharedLock()
        self._born = f"{os.getpid()}-{time.time_ns()}"
        self._busy = BusyTimer()
        self._heart: asyncio.Task[None] | None = None
        self._lengths = ExpectedLengths()
        self._outstanding = ExpectedWork()

    async def ready(self, again: bool = False, memory_deaths: int = 0) -> EngineInfo:
        """Load the engine, if it is not yet; raises EngineError where it cannot start.

        `again`: engines with these settings have served, so a failure may pass (memory that is not free yet, a Hub
        that does not answer): it raises EngineLost, and the process ends, for the next try to begin in a fresh one.
        `memory_deaths`: earlier lives that ran out of memory; each halves the rollouts decoded at once.
        """
        async with self._loading:
            if self._failed:
                raise EngineLost("not_loaded", str(self._failed))
            if self._engine is None:
                try:
                    self._engine = await self._load(memory_deaths)
                except MmprError as error:
                    if again:
                        raise self._fail(error) from error
                    raise
            return self._engine.info

    async def serve(self, request: Request) -> Served:
        """Answer one request, together with all others in flight. Raises EngineLost where there is no engine."""
        engine, work = self._loaded(), self._lengths.expect(request)
        self._outstanding += work
        try:
            async with self._gate.shared():
                with self._busy:
                    answer = await self._answer(engine, request)
        finally:
            self._outstanding -= work
        self._lengths.learn(request.question.source, answer if isinstance(answer, list) else [])
        return Served(answer, self._outstanding)

    async def work_left(self) -> ExpectedWork:
        """What the engine has to do now, for all workers."""
        return self._outstanding

    async def serve_trial(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Answer | ItemRejected] | None]:
        """Answer these requests with nothing else in the engine: None when they begin, then each as it is answered."""
        engine = self._loaded()
        async with self._gate.exclusive():
            yield None
            with self._busy:
                running = [asyncio.create_task(self._numbered(engine, i, each)) for i, each in enumerate(requests)]
                try:
                    for done in asyncio.as_completed(running):
                        yield await done
                finally:
                    for task in running:
                        task.cancel()

    async def stats(self) -> tuple[str, EngineStats]:
        """A name of this life of the actor, and the engine's counts in it."""
        import ray

        stats = await self._engine.stats() if self._engine else EngineStats()
        stats.busy_seconds, stats.alive_seconds = self._busy.seconds, self._busy.alive
        stats.capacity_seconds = stats.capacity * stats.alive_seconds
        stats.restarts = int(ray.get_runtime_context().was_current_actor_reconstructed)
        return self._born, stats

    async def close(self) -> None:
        """Close the engine."""
        if self._engine is not None:
            await self._engine.close()

    async def _numbered(self, engine: Engine, number: int, request: Request) -> tuple[int, Answer | ItemRejected]:
        try:
            return number, await self._answer(engine, request)
        except ItemRejected as reject:
            return number, reject

    async def _answer(self, engine: Engine, request: Request) -> Answer:
        try:
            if isinstance(request, SampleRequest):
                return await engine.sample(request)
            return await engine.continue_without_image(request)
        except EngineError as error:
            raise self._fail(error) from error

    def _loaded(self) -> Engine:
        if self._failed:
            raise EngineLost("not_loaded", str(self._failed))
        if self._engine is None:
            raise EngineLost("not_loaded")
        return self._engine

    def _fail(self, error: MmprError) -> EngineLost:
        """An engine that failed is dead weight: say so, then end the process, and let Ray start a fresh one."""
        if self._failed is None:
            self._failed = EngineLost(cause_of(error), error.message[:600])
            log.error("Engine %s fails and ends: %s", self._born, error.message)
            asyncio.get_running_loop().call_later(LAST_WORDS, os._exit, 70)
        return self._failed

    async def _load(self, memory_deaths: int) -> Engine:
        """Load the engine in another thread, under a watchdog; its children will end with this process."""
        settings, began = self._settings, time.monotonic()
        most = settings.max_num_seqs
        if memory_deaths and not most and settings.name == "vllm":
            from mmpr_pipeline.engines.vllm.load import usual_sequences

            most = await asyncio.to_thread(usual_sequences)
        if memory_deaths and most:
            fewer = max(FEWEST_SEQUENCES, most >> memory_deaths)
            settings = settings.model_copy(update={"max_num_seqs": fewer})
            log.warning("Engine %s decodes at most %d rollouts at once: it ran out of memory before", self._born, fewer)
        if engine_kind(settings).on_gpu:
            guard_children()
        faulthandler.dump_traceback_later(settings.load_seconds, exit=True, file=STDERR)
        try:
            engine = await asyncio.to_thread(make_engine, settings)
        finally:
            faulthandler.cancel_dump_traceback_later()
        log.info("Engine %s is loaded after %.0f s: %s", self._born, time.monotonic() - began, engine.info)
        self._busy = BusyTimer()
        self._heart = asyncio.create_task(
            watch_progress(settings.stall_seconds, self._busy, engine, EngineMeter(settings.name))
        )
        return engine


# It runs without this package, its imports or site-packages: a few MB, and up in milliseconds.
_GUARD = """
import os, signal, sys, time
actor, group = int(sys.argv[1]), int(sys.argv[2])
while os.getppid() == actor:
    time.sleep(0.2)
for _ in range(20):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        break
    time.sleep(0.1)
"""


def guard_children() -> subprocess.Popen[bytes]:
    """Let all children that this process makes from now on end with it. Call it once, before an engine is loaded."""
    with contextlib.suppress(PermissionError):  # the leader of a session is at the head of its group already
        os.setpgid(0, 0)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(os.getpgid(0))],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


STDERR = 2
MOST_BETWEEN = 2.0
"""Most seconds between two looks."""


async def watch_progress(stall: float, busy: BusyTimer, engine: Engine, meter: EngineMeter) -> None:
    """Watch for ever: the process ends after `stall` seconds in which requests were in flight and nothing came."""
    seen = -1
    while True:
        stats = await engine.stats()
        progress = stats.requests + stats.steps
        if not busy.in_flight or progress != seen:
            seen = progress
            faulthandler.dump_traceback_later(stall, exit=True, file=STDERR)
        meter.show(stats, busy)
        await asyncio.sleep(min(MOST_BETWEEN, stall / 4))


class SharedLock:
    """Shared passage, until someone asks to be alone: then newcomers wait until that one has gone."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone_waiting = 0
        self._alone = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Pass with others."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone and not self._alone_waiting)
            self._inside += 1
        try:
            yield
        finally:
            await self._leave()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Pass when nobody else is inside, and keep everybody out."""
        async with self._changed:
            self._alone_waiting += 1
            try:
                await self._changed.wait_for(lambda: not self._alone and not self._inside)
            finally:
                self._alone_waiting -= 1
                self._changed.notify_all()
            self._alone, self._inside = True, 1
        try:
            yield
        finally:
            self._alone = False
            await self._leave()

    async def _leave(self) -> None:
        async with self._changed:
            self._inside -= 1
            self._changed.notify_all()
