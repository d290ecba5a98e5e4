"""Which question is begun next: of those that were read, one of the source with the longest responses.

A build ends when its longest question does. Begun last, a long question is alone at the end, with engines that wait for
it; begun first, it ends while the short ones still fill them (longest processing time first: Graham 1969, "Bounds on
multiprocessing timing anomalies"). The length is learned from questions that have ended, in tokens: seconds would also
measure how long each had to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

MEMORY = 32
"""The expected length of a source's responses is an average over about this many of its latest questions."""


class Slots:
    """Places for questions in flight, in one event loop; shards that a worker has together share them."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._tokens: dict[str, tuple[int, float]] = {}

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
        try:
            yield
        finally:
            self._leave()

    def ended(self, source: str, tokens: Sequence[int]) -> None:
        """Learn from a question of this source that has ended; `tokens` are those of each response."""
        if tokens:
            questions, mean = self._tokens.get(source, (0, 0.0))
            questions = min(questions + 1, MEMORY)
            self._tokens[source] = questions, mean + (sum(tokens) / len(tokens) - mean) / questions

    def _leave(self) -> None:
        """Hand a place on to the first in line of the longest source; one of which nothing is known comes first."""
        self._free += 1
        sources = (source for source, waiting in self._waiting.items() if waiting)
        for source in sorted(sources, key=lambda source: -self._tokens.get(source, (0, float("inf")))[1]):
            waiting = self._waiting[source]
            while waiting:
                turn = waiting.popleft()
                if not turn.done():  # else it was cancelled
                    self._free -= 1
                    turn.set_result(None)
                    return
