"""The engine behind preset pairs: it answers with the two responses that the question's source brings, chosen first."""

from __future__ import annotations

from dataclasses import replace

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, EngineStats, SampleRequest

MODEL = "preset"
"""Stands where a model's name does: who wrote the responses is not known."""


class PresetEngine:
    """Samples nothing. A question whose source brings no whole pair gets no rollout."""

    can_continue = False
    resumed_rollouts = 0

    def __init__(self) -> None:
        self._stats = EngineStats()
        self.info = EngineInfo(engine="preset", model=MODEL, context=None, can_continue=False, recorded=True)

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """The chosen response as rollout 0 and the rejected one as rollout 1."""
        preset = request.question.preset
        texts = (preset.chosen, preset.rejected) if preset and request.first_index == 0 else ()
        self._stats.requests += 1
        self._stats.rollouts += len(texts)
        return [request.rollout(at, text, 0, "recorded", MODEL, seed=0) for at, text in enumerate(texts)]

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """Not possible: there is no model."""
        raise ItemRejected("engine_cannot_continue", "preset responses cannot be continued")

    async def stats(self) -> EngineStats:
        """Counts since the start."""
        return replace(self._stats)

    def forget(self) -> None:
        """Nothing was journalled."""

    async def close(self) -> None:
        """Nothing is held open."""
