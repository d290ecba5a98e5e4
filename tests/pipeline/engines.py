"""Engines for tests of the build room: what they answer is written down in the test."""

from __future__ import annotations

from collections.abc import Callable

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, EngineStats, SampleRequest
from tests.records import a_rollout


class TextEngine:
    """Answers with `texts(source_id, index)`; continues with `blind(text)`; keeps what it was asked."""

    info = EngineInfo(engine="text", model="text", context=None, can_continue=True)

    def __init__(
        self,
        texts: Callable[[str, int], str],
        blind: Callable[[str], str] = lambda kept: kept + "something else",
        *,
        can_continue: bool = True,
        breaks_at: int | None = None,
    ) -> None:
        self.texts, self.blind, self.can_continue, self.breaks_at = texts, blind, can_continue, breaks_at
        self.asked: list[tuple[str, str]] = []

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        self._ask(request.question.source_id, f"sample/{request.round}")
        return [
            a_rollout(
                request.question,
                request.first_index + i,
                self.texts(request.question.source_id, request.first_index + i),
                seed=request.seed + i,
                round=request.round,
                prompt_version=request.prompt_version,
            )
            for i in range(request.n)
        ]

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        self._ask(request.question.source_id, f"continue/{request.parent.index}")
        kept = request.parent.text[: int(len(request.parent.text) * request.ratio)]
        return a_rollout(
            request.question,
            request.index,
            self.blind(kept),
            seed=request.seed,
            parent=request.parent.index,
            prefix_chars=len(kept),
        )

    async def stats(self) -> EngineStats:
        return EngineStats()

    async def close(self) -> None:
        pass

    def _ask(self, source_id: str, step: str) -> None:
        if source_id == "too-long":
            raise ItemRejected("prompt_too_long", "9,000 tokens of 8,192")
        if self.breaks_at is not None and len(self.asked) >= self.breaks_at:
            raise ConnectionError("the engine is gone")
        self.asked.append((source_id, step))
