"""Engines that serve: started in this process, in each worker's process or in Ray actors, and their one owner.

`start_engines` is what a build calls: it returns an object that is itself an engine, that can be pickled into the
shard workers, and that behaves the same wherever the real engines run. `LocalEngine` is in the process that uses it,
opened by its first request or by its owner, and by nothing else.

The owner starts a build's engines, asks them for counts, and closes them, all in one event loop. The loop runs in a
thread of its own from `open` to `close`, so that what a pool does in the background goes on while the driver waits for
shards.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, TypeVar

from mmpr_pipeline.core.errors import EngineError, ItemRejected, MmprError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.registry import engine_kind, make_engine
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.models.resolve import pinned_revision


def actor_count(settings: EngineSettings) -> int:
    """Engine actors that these settings mean: if not given, one for vllm and none for the others."""
    return engine_kind(settings).default_actors if settings.actors is None else settings.actors


async def start_engines(settings: EngineSettings, tiles: Iterable[int] = ()) -> Engine:
    """Start what the settings ask for and wait until it can serve; raises EngineError at once where it cannot.

    `tiles`: most tiles of an image that each source or question asks for; there is memory for the most of them.
    The revision of a Hub model is resolved here, once: engines that start later load the same commit. With actors Ray
    must be initialised. The result is picklable; the driver `close`s it at the end.
    """
    actors = actor_count(settings)
    settings = settings.model_copy(update={"most_tiles": max([settings.most_tiles, *tiles])})
    if settings.name == "vllm":
        settings = settings.model_copy(update={"revision": pinned_revision(settings.model, settings.revision)})
    if actors == 0:
        described = LocalEngine(settings).info  # raises where an engine could not start
        return LocalEngine(settings, described)
    from mmpr_pipeline.engines.pool.launch import start_pool

    return await start_pool(settings, actors)


log = logging.getLogger(__name__)

State = Literal["created", "open", "closed"]

_OPENED: dict[str, Engine] = {}
"""The engines of this process by their settings: of several shards that a worker has, all use one (a replay file is
indexed once). They end with the worker, or by `close`."""


class LocalEngine:
    """One engine for each process that uses it; can be pickled into any worker, where it is made once."""

    def __init__(self, settings: EngineSettings, info: EngineInfo | None = None) -> None:
        self._settings, self._key = settings, settings.model_dump_json()
        self._described = info
        self._closed = False

    def __reduce__(self) -> tuple[object, ...]:
        return (LocalEngine, (self._settings, self._described))

    @property
    def state(self) -> State:
        """`created` until this process has the engine, `open` then, `closed` after `close`."""
        if self._closed:
            return "closed"
        return "open" if self._key in _OPENED else "created"

    def open(self) -> Engine:
        """This process's engine; raises EngineError after `close`."""
        if self._closed:
            raise EngineError("This engine was closed.", remedy="Start it again by `start_engines`.")
        if self._key not in _OPENED:
            _OPENED[self._key] = make_engine(self._settings)
        return _OPENED[self._key]

    @property
    def info(self) -> EngineInfo:
        """What the engine is; loads no model, and raises what would keep one from starting."""
        if opened := _OPENED.get(self._key):
            return opened.info
        if self._described is None:
            describe = engine_kind(self._settings).describe
            self._described = self.open().info if describe is None else describe(self._settings)
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
        opened = _OPENED.get(self._key)
        return await opened.stats() if opened else EngineStats()

    async def close(self) -> None:
        """Close this process's engine, if it was opened."""
        self._closed = True
        engine = _OPENED.pop(self._key, None)
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


T = TypeVar("T")


class EngineOwner:
    """Owns the engine that `start` gives, or none where none is needed; a context manager that opens and closes it."""

    def __init__(self, start: Callable[[], Awaitable[Engine | None]]) -> None:
        self._start = start
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.engine: Engine | None = None
        """The engine while it is open."""
        self.state: Literal["created", "open", "closed"] = "created"

    def __enter__(self) -> EngineOwner:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def open(self) -> Engine | None:
        """Start the engine and wait until it can serve; raises EngineError or ConfigError where it cannot."""
        if self.state != "created":
            raise RuntimeError(f"the engine is {self.state}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine-owner", daemon=True)
        self._thread.start()
        try:
            self.engine = self._run(self._awaited(self._start))
        except BaseException:
            self.close()
            raise
        self.state = "open"
        return self.engine

    def stats(self) -> EngineStats:
        """The engine's counts; zeros before it is opened and after it was closed. Never opens anything."""
        return self._run(self.engine.stats()) if self.engine and self.state == "open" else EngineStats()

    def close(self) -> None:
        """Close the engine and end the loop; nothing happens the second time."""
        if self._loop is not None and self._thread is not None:
            try:
                if self.engine is not None:
                    self._run(self.engine.close())
                self._run(_end_others())
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join(timeout=10)
                if not self._thread.is_alive():
                    self._loop.close()
                self._loop = self._thread = self.engine = None
        self.state = "closed"

    @staticmethod
    async def _awaited(start: Callable[[], Awaitable[T]]) -> T:
        return await start()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work done in the loop. Who is interrupted while waiting (Ctrl-C) cancels it."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


async def _end_others() -> None:
    """Cancel what still runs in this loop, and wait for it."""
    others = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
