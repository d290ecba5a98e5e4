"""Several servers as one engine: a server on each node, and every worker a client of all.

A question goes to the server that its id names, so that its later rounds find its image and prefix cached there. Where
a server has not answered for a while, its questions go to the next one until it answers again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from typing import TypeVar

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.openai.client import RetryPolicy
from mmpr_pipeline.engines.openai.engine import OpenAiEngine
from mmpr_pipeline.engines.registry import EngineKind
from mmpr_pipeline.engines.settings import EngineSettings

log = logging.getLogger(__name__)

OUTAGE_SECONDS = 60.0
"""Seconds without an answer after which the next server is asked."""

AWAY_SECONDS = 60.0
"""Seconds until a server that did not answer is asked again."""

T = TypeVar("T")


class OpenAiServers:
    """All servers of `engine.base_url`; raises EngineError where none answers at the start, or they differ."""

    def __init__(self, settings: EngineSettings, patience: RetryPolicy | None = None) -> None:
        self._settings = settings
        self._patience = patience or RetryPolicy(timeout=settings.stall_seconds, outage=OUTAGE_SECONDS)
        self._urls = settings.base_urls
        self._engines: dict[str, OpenAiEngine] = {}
        self._away: dict[str, float] = {}
        """Servers that did not answer, and when they are asked again."""
        for url in self._urls:
            try:
                self._connect(url)
            except EngineError as error:
                self._lost(url, error)
        if not self._engines:
            raise EngineError(
                f"None of {len(self._urls)} servers answers.", remedy="Start them, or correct --base-url."
            )
        first = next(iter(self._engines.values()))
        self.can_continue = all(engine.can_continue for engine in self._engines.values())
        self.info: EngineInfo = first.info.model_copy(
            update={"engines": len(self._urls), "can_continue": self.can_continue}
        )

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """See `Engine.sample`."""
        return await self._ask(request.question.question_id, lambda engine: engine.sample(request))

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """See `Engine.continue_without_image`."""
        return await self._ask(request.question.question_id, lambda engine: engine.continue_without_image(request))

    async def stats(self) -> EngineStats:
        """Sums over the servers."""
        each = [asdict(await engine.stats()) for engine in self._engines.values()]
        return EngineStats(**{f.name: sum(stats[f.name] for stats in each) for f in fields(EngineStats)})

    async def close(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            await engine.close()

    async def _ask(self, question_id: str, ask: Callable[[OpenAiEngine], Awaitable[T]]) -> T:
        """The answer of the question's server, or of the next ones. Raises EngineError where none of them answers."""
        failed: EngineError | None = None
        # The servers from the question's own on; those that are away last, for nobody is left out for good.
        start = int(question_id[:8], 16) % len(self._urls)
        turn = [*self._urls[start:], *self._urls[:start]]
        now = time.monotonic()
        for url in sorted(turn, key=lambda url: self._away.get(url, 0.0) > now):
            try:
                known = self._engines.get(url)
                answer = await ask(known if known is not None else await asyncio.to_thread(self._connect, url))
            except EngineError as error:
                failed = error
                self._lost(url, error)
            else:
                if self._away.pop(url, None) is not None:
                    log.warning("%s answers again", url)
                return answer
        assert failed is not None
        raise failed

    def _connect(self, url: str) -> OpenAiEngine:
        self._engines[url] = OpenAiEngine(self._settings.model_copy(update={"base_url": url}), self._patience)
        return self._engines[url]

    def _lost(self, url: str, error: EngineError) -> None:
        if self._away.get(url, 0.0) <= time.monotonic():
            log.warning("%s is asked again in %.0f s: %s", url, AWAY_SECONDS, error.message)
        self._away[url] = time.monotonic() + AWAY_SECONDS


def _make(settings: EngineSettings) -> Engine:
    return OpenAiServers(settings) if len(settings.base_urls) > 1 else OpenAiEngine(settings)


def _identity(settings: EngineSettings) -> dict[str, object]:
    """Which server answers changes nothing: any that serves the model will do."""
    return {"name": "openai", "model": settings.model, "revision": settings.revision}


KIND = EngineKind(make=_make, identity=_identity)
