"""A stopwatch that runs while an engine has requests in flight."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class BusyTimer:
    """How long at least one request was in flight."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._born = clock()
        self._since = 0.0
        self._before = 0.0
        self.in_flight = 0

    def __enter__(self) -> None:
        if not self.in_flight:
            self._since = self._clock()
        self.in_flight += 1

    def __exit__(self, *error: Any) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self._before += self._clock() - self._since

    @property
    def seconds(self) -> float:
        """Seconds so far with a request in flight."""
        return self._before + (self._clock() - self._since if self.in_flight else 0.0)

    @property
    def alive(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._born
