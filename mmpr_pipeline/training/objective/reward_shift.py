"""δ of BCO: the running mean of all rewards seen, over all ranks, updated once per optimizer step.

Jung et al. 2024 (arXiv 2404.04656) shift both rewards by their mean, so that the classifier need not first learn the
policy's overall drift away from the reference. Two habits of other trainers make runs irreproducible: δ moves within
an optimizer step, so that it depends on how the step is cut into micro-batches, and it is not saved. Here a step uses
the δ of the steps before it, and δ is part of the checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmpr_pipeline.core.errors import TrainingError


@dataclass
class RewardShift:
    """`total` over `count` rewards of finished steps, chosen and rejected alike."""

    total: float = 0.0
    count: int = 0
    decay: float | None = None  # a step of a moving average, in place of the mean over all steps

    @property
    def value(self) -> float:
        """δ for the current step: the mean (or moving average) over all finished steps, 0 before the first."""
        return self.total / self.count if self.count else 0.0

    def end_step(self, total: float, count: int) -> float:
        """Fold in the rewards βh of a finished step: their sum over all ranks, and how many. Gives the new δ.

        Raises TrainingError where a reward was not finite: one nan would stay in δ, and in its checkpoints, for good.
        """
        if not math.isfinite(total):
            raise TrainingError(
                "A reward is not finite.",
                remedy="Resume from the last checkpoint with a lower learning rate; look at the metrics of this step.",
            )
        if self.decay is None:
            self.total += total
            self.count += count
        elif count:
            self.total, self.count = self.decay * self.value + (1 - self.decay) * total / count, 1
        return self.value
