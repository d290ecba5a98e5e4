"""An engine in the process that uses it, opened by its first request or by its owner, and by nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from mmpr_pipeline.core.errors import EngineError, ItemRejected, MmprError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.registry import engine_kind, make_engine
from mmpr_pipeline.engines.settings import EngineSettings

log = logging.getLogger(__name__)

State = Literal["created", "open", "closed"]

_OPENED: dict[str, Engine] = {}
"""The engines of this process by their settings: of several shards that a worker has, all use one (a replay file is
indexed once). They end with the worker, or by `close`."""


class LocalEngine:
    """One engine for each process that uses it; can be pickled into any worker, where it is made once."""

    def __init__(self, settings: EngineSettings, info: EngineInfo | None = None) -> None:
        self._settings = settings
        self._described = info
        self._closed = False

    def __reduce__(self) -> tuple[object, ...]:
        return (LocalEngine, (self._settings, self._described))

    @property
    def state(self) -> State:
        """`created` until this process has the engine, `open` then, `closed` after `close`."""
        if self._closed:
            return "closed"
        return "open" if self._opened() else "created"

    def open(self) -> Engine:
        """This process's engine; raises EngineError after `close`."""
        if self._closed:
            raise EngineError("This engine was closed.", remedy="Start it again by `start_engines`.")
        key = self._settings.model_dump_json()
        if key not in _OPENED:
            _OPENED[key] = make_engine(self._settings)
        return _OPENED[key]

    def check(self) -> None:
        """Raise what would keep the engine from starting. A model is not loaded for it, only looked for."""
        describe = engine_kind(self._settings).describe
        self._described = self.open().info if describe is None else describe(self._settings)

    @property
    def info(self) -> EngineInfo:
        """What the engine is; loads no model."""
        if opened := self._opened():
            return opened.info
        if self._described is None:
            self.check()
        assert self._described is not None
        return self._described

    @property
    def can_continue(self) -> bool:
        """Whether `continue_without_image` works; loads no model."""
        return self.info.can_continue

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """See `Engine.sample`."""
        with self._plain_errors("sample"):
            return await self.open().sample(request)

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """See `Engine.continue_without_image`."""
        with self._plain_errors("continue_without_image"):
            return await self.open().continue_without_image(request)

    async def stats(self) -> EngineStats:
        """Counts of this process's engine; zeros where it is not open."""
        opened = self._opened()
        return await opened.stats() if opened else EngineStats()

    async def close(self) -> None:
        """Close this process's engine, if it was opened."""
        self._closed = True
        engine = _OPENED.pop(self._settings.model_dump_json(), None)
        if engine is not None:
            await engine.close()

    @contextmanager
    def _plain_errors(self, method: str) -> Iterator[None]:
        """Turn whatever a third party's engine raises into an EngineError, and log its traceback."""
        try:
            yield
        except (MmprError, ItemRejected):
            raise
        except Exception as error:
            log.exception("The engine %s raised an error.", self._settings.name)
            raise EngineError(
                f"The {self._settings.name} engine failed in {method}: {type(error).__name__}: {str(error)[:600]}",
                remedy="Its traceback is in the log (OUT/logs). Mend the engine, then run the same command again.",
            ) from error

    def _opened(self) -> Engine | None:
        return _OPENED.get(self._settings.model_dump_json())
