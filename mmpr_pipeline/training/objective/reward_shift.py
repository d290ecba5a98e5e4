"""δ of BCO: the running mean of all rewards seen, over all ranks, updated once per optimizer step.

Jung et al. 2024 (arXiv 2404.04656) shift both rewards by their mean, so that the classifier need not first learn the
policy's overall drift away from the reference. Two habits of other trainers make runs irreproducible: δ moves within
an optimizer step, so that it depends on how the step is cut into micro-batches, and it is not saved. Here a step uses
the δ of the steps before it, and δ is part of the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.distributed.world import sum_over_ranks

AllReduce = Callable[[Tensor], Tensor]


@dataclass
class RewardShift:
    """`total` over `count` rewards of finished steps; `observe` collects the current step, `end_step` folds it in."""

    total: float = 0.0
    count: int = 0
    _step_total: float = 0.0
    _step_count: int = 0
    decay: float | None = None  # a step of a moving average, in place of the mean over all steps

    @property
    def value(self) -> float:
        """δ for the current step: the mean (or moving average) over all finished steps, 0 before the first."""
        return self.total / self.count if self.count else 0.0

    def observe(self, *rewards: Tensor) -> None:
        """Collect the rewards βh (any shape, chosen and rejected alike) of one micro-batch on this rank."""
        for values in rewards:
            self._step_total += float(values.detach().double().sum())
            self._step_count += values.numel()

    def end_step(self, all_reduce: AllReduce = sum_over_ranks) -> float:
        """Fold the step's rewards of all ranks into δ; once per optimizer step, on every rank. Returns the new δ.

        Raises TrainingError where a reward was not finite: one nan would stay in δ, and in its checkpoints, for good.
        """
        step = all_reduce(torch.tensor([self._step_total, self._step_count], dtype=torch.float64))
        total, count = float(step[0]), int(step[1])
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
        self._step_total, self._step_count = 0.0, 0
        return self.value

    def forget_step(self) -> None:
        """Give up what was collected of the current step: it will be computed again."""
        self._step_total, self._step_count = 0.0, 0

    def state_dict(self) -> dict[str, float]:
        """State for the checkpoint; taken between optimizer steps."""
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` gave."""
        self.total, self.count = float(state["total"]), int(state["count"])
        self._step_total, self._step_count = 0.0, 0
