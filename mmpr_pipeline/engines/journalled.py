"""Engines around another one; and the one that remembers: every answer is journalled before it is used.

After a crash it is taken from there. This is what makes a build resumable. The shard's work is a pure function of its
questions and the engine's answers, so replaying the journalled answers brings it back to where it was, and only what is
missing is generated.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest, request_name
from mmpr_pipeline.storage.journal import Journal


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


_log = logging.getLogger(__name__)


class JournalledEngine(WrappedEngine):
    """Wraps an engine and the journal of one shard. Close it to close the journal; the engine stays open."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        super().__init__(engine)
        self._past = {(str(entry.get("question")), str(entry.get("step"))): entry for entry in journal.read()}
        if journal.torn:
            _log.warning("%s: %d torn or damaged lines are made again", journal.prefix, journal.torn)
        self._writer = journal.open()
        self.resumed_rollouts = 0
        """Rollouts that came from the journal, not from the engine."""

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """The rollouts of this question and round, from the journal if they are there."""
        return await self._once(
            request.question.question_id, request_name(request), lambda: self._engine.sample(request)
        )

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """The continuation of this parent, from the journal if it is there."""

        async def alone() -> list[Rollout]:
            return [await self._engine.continue_without_image(request)]

        return (await self._once(request.question.question_id, f"continue/{request.parent.index}", alone))[0]

    def forget(self) -> None:
        """Delete the journal: its shard is finished. Nothing of it is forced to disk for that."""
        self._writer.forget()

    async def close(self) -> None:
        """Close the journal's segment; what was appended stays."""
        self._writer.close()

    async def _once(self, question: str, step: str, ask: Callable[[], Awaitable[list[Rollout]]]) -> list[Rollout]:
        """The journalled answer of a step; else the engine's, journalled before it is used. Raises ItemRejected."""
        if (entry := self._past.pop((question, step), None)) is not None:
            try:
                reject = ItemRejected(*entry["reject"]) if entry.get("reject") else None
                rollouts = [] if reject else [Rollout.model_validate(fields) for fields in entry["rollouts"]]
            except (KeyError, TypeError, ValidationError):  # damaged, by a version whose lines had no checksum
                pass
            else:
                if reject:
                    raise reject
                self.resumed_rollouts += len(rollouts)
                return rollouts
        try:
            rollouts = await ask()
        except ItemRejected as reject:
            self._writer.append({"question": question, "step": step, "reject": [reject.reason, reject.detail]})
            raise
        self._writer.append({"question": question, "step": step, "rollouts": rollouts})
        return rollouts
