"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math


def lr_at(
    step: int, steps: int, *, peak_lr: float, warm_up: float, schedule: str = "cosine", final_lr: float = 0.0
) -> float:
    """Rate of optimizer step `step` (from 0) of `steps`: a linear rise over the first share `warm_up`, then the fall.

    The first step already moves, and the last one still does: the rise ends at `peak_lr`, the fall would reach
    `final_lr` at step `steps`.
    """
    rising = math.ceil(warm_up * steps)
    if step < rising:
        return peak_lr * (step + 1) / rising
    passed = (step - rising) / max(1, steps - rising)
    if schedule == "cosine":
        return final_lr + (peak_lr - final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))
    return peak_lr if schedule == "constant" else final_lr + (peak_lr - final_lr) * max(0.0, 1 - passed)
