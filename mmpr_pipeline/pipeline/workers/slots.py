"""Which question is begun next: of those that were read, one of the source whose questions take longest.

A build ends when its longest question does. Begun last, a long question is alone at the end, with engines that wait for
it; begun first, it ends while the short ones still fill them (longest processing time first: Graham 1969, "Bounds on
multiprocessing timing anomalies"). How long a source's questions take is learned from those that have ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MEMORY = 32
"""About so many of the latest questions of a source decide how long its next one is expected to take."""


class Slots:
    """Places for questions in flight, in one event loop; shards that a worker has together share them."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._seconds: dict[str, float] = {}

    @asynccontextmanager
    async def place(self, source: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        if self._free and not any(self._waiting.values()):
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(source, deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                raise
        began = asyncio.get_running_loop().time()
        try:
            yield
            seconds = asyncio.get_running_loop().time() - began
            before = self._seconds.get(source, seconds)
            self._seconds[source] = before + (seconds - before) / MEMORY
        finally:
            self._leave()

    def _leave(self) -> None:
        """Hand a place on to the first in line of the longest source; one of which nothing is known comes first."""
        self._free += 1
        sources = (source for source, waiting in self._waiting.items() if waiting)
        for source in sorted(sources, key=lambda source: -self._seconds.get(source, float("inf"))):
            waiting = self._waiting[source]
            while waiting:
                turn = waiting.popleft()
                if not turn.done():  # else it was cancelled
                    self._free -= 1
                    turn.set_result(None)
                    return
