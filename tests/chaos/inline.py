"""Whole builds in this process, without Ray, quick enough for thousands. All but Ray's part is the build's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pipeline.config import absolute_build_paths, load_config
from mmpr_pipeline.pipeline.output import begun_with, claim_output, finish, has_begun, missing_shards
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_build_plan
from mmpr_pipeline.pipeline.plans.screening_pass import Screenable, look_at, screen
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.screening.chunks import Chunk
from mmpr_pipeline.storage import Store, open_store


class Stopped(BaseException):
    """The build is stopped here, as by a kill: nothing is cleaned up after it but what Python itself does."""


@dataclass
class Inline:
    """One run of a build. `pieces` and `requests`: it is stopped after so many pieces looked at, requests served."""

    settings: Mapping[str, Any]
    pieces: int | None = None
    requests: int | None = None
    said: list[str] = field(default_factory=list)

    async def run(self) -> BuildSummary:
        """Begin the build or go on with it; the summary. Raises what `mmpr build` would end with, or Stopped."""
        config = absolute_build_paths(load_config(None, dict(self.settings)))
        store = open_store(config.out)
        plan = make_build_plan(config, begun_with(store) if has_begun(store) else None)
        with store.lease() as still_held:
            still_held()
            store.check_writable()
            store.sweep()
            claim_output(store, plan)
            missing = missing_shards(store, plan)
            if missing:
                await self._make(replace(plan, screened=screen(plan, self.said.append, self._look)), missing)
            return finish(store, plan, {"shards": len(missing)})

    def _look(self, plan: Screenable, pieces: Sequence[Chunk], what: str) -> None:
        for piece in pieces:
            if self.pieces is not None:
                self.pieces -= 1
                if self.pieces < 0:
                    raise Stopped
            look_at(plan, piece)

    async def _make(self, plan: BuildPlan, missing: list[int]) -> None:
        engine: Any = await plan.start()
        if self.requests is not None:
            engine = _Stopping(engine, self.requests)
        for shard in missing:
            await work_shard(plan, shard, engine, lambda tally: None)


class _Stopping:
    """An engine that stops the build after so many requests."""

    def __init__(self, engine: Engine, requests: int) -> None:
        self._engine, self._left = engine, requests
        self.info, self.can_continue = engine.info, engine.can_continue
        self.stats, self.close = engine.stats, engine.close

    async def sample(self, request: Any) -> Any:
        self._count()
        return await self._engine.sample(request)

    async def continue_without_image(self, request: Any) -> Any:
        self._count()
        return await self._engine.continue_without_image(request)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Stopped


def store_of(settings: Mapping[str, Any]) -> Store:
    """The output of a build with these settings."""
    return open_store(str(settings["out"]))
