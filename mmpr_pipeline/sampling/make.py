"""From settings to an engine: in this process, in each worker's process, or in Ray actors.

`start_engines` is what a build calls: it returns an object that is itself an engine, that can be pickled into the
shard workers, and that behaves the same wherever the real engines run.
"""

from __future__ import annotations

from mmpr_pipeline.config import EngineSettings
from mmpr_pipeline.errors import ConfigError
from mmpr_pipeline.records import Rollout
from mmpr_pipeline.sampling.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest


def make_engine(settings: EngineSettings) -> Engine:
    """The engine of these settings in this process; raises EngineError or ConfigError with the remedy."""
    if settings.name == "scripted":
        from mmpr_pipeline.sampling.scripted import ScriptedEngine, parse_script

        return ScriptedEngine(parse_script(settings.script))
    if settings.name == "given":
        from mmpr_pipeline.sampling.given import GivenEngine

        return GivenEngine()
    if settings.name == "replay":
        from mmpr_pipeline.sampling.replay import ReplayEngine

        if not settings.rollouts:
            raise ConfigError("The replay engine has no recorded rollouts.", remedy="Give --rollouts FILE.")
        return ReplayEngine(settings.rollouts)
    if settings.name == "openai":
        from mmpr_pipeline.sampling.openai_engine import OpenAiEngine

        return OpenAiEngine(settings)
    from mmpr_pipeline.sampling.vllm_engine import VllmEngine

    return VllmEngine(settings)


def actor_count(settings: EngineSettings) -> int:
    """Engine actors that these settings mean: if not given, one for vllm and none for the others."""
    if settings.actors is not None:
        return settings.actors
    return 1 if settings.name == "vllm" else 0


async def start_engines(settings: EngineSettings) -> Engine:
    """Start what the settings ask for and wait until it can serve; raises EngineError at once where it cannot.

    With actors Ray must be initialised. The result is picklable; the driver `close`s it at the end.
    """
    actors = actor_count(settings)
    if actors == 0:
        local = LocalEngine(settings)
        local.check()
        return local
    from mmpr_pipeline.sampling.actors import start_pool

    return await start_pool(settings, actors)


_OPENED: dict[str, Engine] = {}


class LocalEngine:
    """An engine made in each process that uses it, at its first use, and once only (a replay file is indexed once)."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings

    def open(self) -> Engine:
        """This process's engine."""
        key = self._settings.model_dump_json()
        if key not in _OPENED:
            _OPENED[key] = make_engine(self._settings)
        return _OPENED[key]

    def check(self) -> None:
        """Raise what would keep the engine from starting; a model is not loaded for it, only looked for."""
        if self._settings.name != "vllm":
            self.open()
            return
        from mmpr_pipeline.sampling.model_label import resolve_model
        from mmpr_pipeline.sampling.vllm_load import require_vllm

        require_vllm()
        resolve_model(self._settings)

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""
        return self.open().info

    @property
    def can_continue(self) -> bool:
        """Whether `continue_blind` works."""
        return self.open().can_continue

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """See `Engine.sample`."""
        return await self.open().sample(request)

    async def continue_blind(self, request: ContinueRequest) -> Rollout:
        """See `Engine.continue_blind`."""
        return await self.open().continue_blind(request)

    async def close(self) -> None:
        """Close this process's engine, if it was opened."""
        engine = _OPENED.pop(self._settings.model_dump_json(), None)
        if engine is not None:
            await engine.close()

    async def stats(self) -> EngineStats:
        """Counts of this process's engine."""
        return await self.open().stats()
