"""The one owner of a build's engines: it starts them, asks them for counts, and closes them, all in one event loop.

The loop runs in a thread of its own from `open` to `close`, so that what a pool does in the background goes on while
the driver waits for shards.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, TypeVar

from mmpr_pipeline.engines.engine import Engine, EngineStats

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
