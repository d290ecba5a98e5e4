"""An engine in the process that uses it, created where it is first needed."""

from __future__ import annotations

from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.engines.settings import EngineSettings

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
        from mmpr_pipeline.engines.vllm.load import require_vllm
        from mmpr_pipeline.models.resolve import resolve_model

        require_vllm()
        resolve_model(self._settings.model, self._settings.revision)

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
