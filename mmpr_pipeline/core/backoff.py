"""How long to wait before the next try of what failed and may succeed later."""

from __future__ import annotations

import random
from collections.abc import Callable


def seconds_to_wait(
    tries: int, *, first: float, longest: float, draw: Callable[[float, float], float] = random.uniform
) -> float:
    """Seconds to wait after `tries` failures (from 0): twice as long each time, from `first` to `longest`.

    Half of it is drawn by `draw(low, high)`, so that many who failed at the same moment do not come back all at once.
    """
    return min(longest, first * 2.0 ** min(tries, 50)) * draw(0.5, 1.0)
