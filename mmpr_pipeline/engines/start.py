"""From settings to an engine: in this process, in each worker's process, or in Ray actors.

`start_engines` is what a build calls: it returns an object that is itself an engine, that can be pickled into the
shard workers, and that behaves the same wherever the real engines run.
"""

from __future__ import annotations

from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.engines.local import LocalEngine
from mmpr_pipeline.engines.registry import engine_kind
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.models.resolve import pinned_revision


def actor_count(settings: EngineSettings) -> int:
    """Engine actors that these settings mean: if not given, one for vllm and none for the others."""
    return engine_kind(settings).default_actors if settings.actors is None else settings.actors


async def start_engines(settings: EngineSettings) -> Engine:
    """Start what the settings ask for and wait until it can serve; raises EngineError at once where it cannot.

    The revision of a Hub model is resolved here, once: engines that start later load the same commit. With actors Ray
    must be initialised. The result is picklable; the driver `close`s it at the end.
    """
    actors = actor_count(settings)
    if settings.name == "vllm":
        settings = settings.model_copy(update={"revision": pinned_revision(settings.model, settings.revision)})
    if actors == 0:
        local = LocalEngine(settings)
        local.check()
        return local
    from mmpr_pipeline.engines.pool.launch import start_pool

    return await start_pool(settings, actors)
