"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math


def rate_at(
    step: int, steps: int, *, highest: float, warm_up: float, schedule: str = "cosine", lowest: float = 0.0
) -> float:
    """Rate of optimizer step `step` (from 0) of `steps`: a linear rise over the first share `warm_up`, then the fall.

    The first step already moves, and the last one still does: the rise ends at `highest`, the fall would reach `lowest`
    at step `steps`.
    """
    rising = math.ceil(warm_up * steps)
    if step < rising:
        return highest * (step + 1) / rising
    passed = (step - rising) / max(1, steps - rising)
    if schedule == "cosine":
        return lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))
    return highest if schedule == "constant" else lowest + (highest - lowest) * max(0.0, 1 - passed)
