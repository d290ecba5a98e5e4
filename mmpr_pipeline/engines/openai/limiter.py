"""How many rollouts may be in flight on a server that others may use too.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it: while the window is used in full and
answers come, it grows by about one rollout for each window's worth of answers; when the server pushes back (429, 503)
it is halved, once for all requests that were sent before the cut. Latency is watched as seconds for each token of
an answer: batching makes it grow, so the window stops growing only at several times the best seen, and shrinks a
little at twice that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

START = 32
SLOW = 6.0
"""Times the best seconds per token from where the window no longer grows; from twice that it shrinks."""
_FORGET = 1.002
"""Growth of the best latency with each answer, so that one lucky answer does not hold the window down for ever."""


class RolloutLimiter:
    """A limit on the rollouts in flight, for one event loop."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._limit = float(min(START, most))
        self._inside = 0
        self._best: float | None = None
        self._last_cut = -1.0
        self._changed = asyncio.Condition()

    @property
    def limit(self) -> int:
        """Rollouts that may be in flight now."""
        return max(1, int(self._limit))

    @asynccontextmanager
    async def acquire(self, weight: int) -> AsyncIterator[float]:
        """A place for a request of `weight` rollouts; gives the time at which it was taken.

        A request heavier than the whole window passes when nothing else is in flight.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self._inside or self._inside + weight <= self.limit)
            self._inside += weight
        try:
            yield self._clock()
        finally:
            async with self._changed:
                self._inside -= weight
                self._changed.notify_all()

    def answered(self, sent: float, weight: int, tokens: int) -> None:
        """An answer of `weight` rollouts came, its longest of about `tokens` tokens, to a request sent at `sent`."""
        pace = (self._clock() - sent) / max(tokens, 1)
        self._best = pace if self._best is None else min(self._best * _FORGET, pace)
        if pace > 2 * SLOW * self._best:
            self._limit = max(1.0, self._limit * 0.98)
        elif pace <= SLOW * self._best and 2 * self._inside >= self.limit:
            self._limit = min(float(self._most), self._limit + weight / self._limit)

    def pushed_back(self, sent: float) -> None:
        """The server refused a request sent at `sent` because it has too much to do."""
        if sent >= self._last_cut:
            self._last_cut = self._clock()
            self._limit = max(1.0, self._limit / 2)
