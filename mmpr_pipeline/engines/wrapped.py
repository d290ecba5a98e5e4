"""An engine around another one: what a subclass does not change is the inner engine's."""

from __future__ import annotations

from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest


class WrappedEngine:
    """Passes everything on to the inner engine, which stays open when this one is closed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def can_continue(self) -> bool:
        """Whether the inner engine can."""
        return self._engine.can_continue

    @property
    def info(self) -> EngineInfo:
        """What the inner engine is."""
        return self._engine.info

    async def stats(self) -> EngineStats:
        """The inner engine's counts."""
        return await self._engine.stats()

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """The inner engine's rollouts."""
        return await self._engine.sample(request)

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """The inner engine's continuation."""
        return await self._engine.continue_without_image(request)

    async def close(self) -> None:
        """Nothing: the inner engine stays open."""
