"""The engine of sources that bring pairs themselves: it answers with their own two responses, chosen first."""

from __future__ import annotations

from dataclasses import replace

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.registry import EngineKind

MODEL = "given"
"""Stands where a model's name does: who wrote the responses is not known."""


class GivenEngine:
    """Samples nothing. A question whose source brings no whole pair gets no rollout."""

    can_continue = False

    def __init__(self) -> None:
        self._stats = EngineStats()
        self.info = EngineInfo(engine="given", model=MODEL, context=None, can_continue=False)

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """The chosen response as rollout 0 and the rejected one as rollout 1."""
        given = request.question.given
        texts = (given.chosen, given.rejected) if given and request.first_index == 0 else ()
        self._stats.requests += 1
        self._stats.rollouts += len(texts)
        return [
            Rollout(
                question_id=request.question.question_id,
                round=request.round,
                index=index,
                seed=0,
                text=text,
                tokens=0,
                finish_reason="recorded",
                model=MODEL,
                prompt_version=request.prompt_version,
            )
            for index, text in enumerate(texts)
        ]

    async def continue_blind(self, request: ContinueRequest) -> Rollout:
        """Not possible: there is no model."""
        raise ItemRejected("engine_cannot_continue", "given responses cannot be continued")

    async def stats(self) -> EngineStats:
        """Counts since the start."""
        return replace(self._stats)

    async def close(self) -> None:
        """Nothing is held open."""


KIND = EngineKind(make=lambda settings: GivenEngine(), identity=lambda settings: {"name": "given"})
"""The responses are part of the sources."""
