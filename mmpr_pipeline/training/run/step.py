"""One optimizer step: micro-batches until every rank has done its share, then checks, clipping, AdamW, δ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.data.encode import PairReject
from mmpr_pipeline.training.data.stream import EndOfStep, MicroBatch, idle_batch, of_one_step
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.objective.checks import check_completions, check_finite, check_first_loss
from mmpr_pipeline.training.objective.loss import LossSettings, PairLogProbs, mixed, pair_log_probs
from mmpr_pipeline.training.objective.reference import Reference, StoredReference
from mmpr_pipeline.training.objective.reward_shift import RewardShift
from mmpr_pipeline.training.policy.flops import ModelShape, training_flops
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy, ResponseScores
from mmpr_pipeline.training.run.metrics import Sums

Events = Iterator[MicroBatch | EndOfStep]


@dataclass
class Learner:
    """What a step works on. `reference` is None where reference rows come with the micro-batches."""

    policy: PrefixSharedPolicy
    optimizer: torch.optim.Optimizer
    world: World
    weights: dict[str, float]
    settings: LossSettings
    batch: int
    max_grad_norm: float
    shape: ModelShape
    reference: Reference | None = None
    stopping: Callable[[], bool] = bool  # whether this rank was asked to stop
    shift: RewardShift = field(default_factory=RewardShift)

    def step(self, number: int, events: Events, check_start: torch.dtype | None) -> tuple[dict[str, float], Any]:
        """Do optimizer step `number`; gives the metrics of all ranks and this rank's rejects.

        With `check_start` (the type computed in) the loss must be that of policy = reference. Changes no weight where
        it raises: TrainingError where a loss or gradient is not finite, Stopped where any rank was asked to stop.
        """
        delta = self.shift.value
        try:
            sums, rejects = self._accumulate(events)
            sums.add(rejected=len(rejects))
            metrics = sums.result(self.world.sum(sums.values))
            check_finite(metrics["loss"], "loss", number)
            pairs = metrics["pairs"]
            if not pairs:
                return {**metrics, "grad_norm": 0.0, "delta": delta}, rejects
            if check_start is not None:
                terms = {name.removeprefix("loss/"): metrics[name] for name in metrics if name.startswith("loss/")}
                check_first_loss(terms, self.weights, self.settings, check_start, delta)
            # A step's gradient is the mean over the pairs that were used: fewer than `batch` where some were left out.
            for parameter in self.policy.parameters():
                if parameter.grad is not None and pairs != self.batch:
                    parameter.grad.mul_(self.batch / pairs)
            norm = clip(self.policy, self.max_grad_norm)
            check_finite(norm, "gradient norm", number)
            self.shift.end_step(pairs * (metrics["reward/chosen"] + metrics["reward/rejected"]), 2 * int(pairs))
            self.optimizer.step()
            return {**metrics, "grad_norm": norm, "delta": delta}, rejects
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def _accumulate(self, events: Events) -> tuple[Sums, list[PairReject]]:
        """Forward and backward of this rank's micro-batches; idle ones as long as another rank has work."""
        sums, rejects = Sums(self.weights), list[PairReject]()
        for event in self.world.in_turns(of_one_step(events, rejects), self.stopping):
            found, pairs = self.score(event)
            if event is None or pairs is None:
                (found.responses.sum() * 0.0).backward()
                continue
            batch = event.batch
            check_completions(batch)
            loss = mixed(pairs, self.weights, self.settings, self.shift.value)
            # Sharded gradients are means over ranks; of a step's pairs, the sum over ranks is wanted.
            total = loss.total.sum()
            if found.imbalance is not None and self.policy.experts:
                total = total + batch.pairs * self.policy.experts.weight * found.imbalance
                sums.add(imbalance=batch.pairs * float(found.imbalance.detach()))
            (total * (self.world.size / self.batch)).backward()
            sums.add_batch(batch, pairs, loss, self.settings.beta, training_flops(self.shape, batch))
        return sums, rejects

    def score(self, event: MicroBatch | None) -> tuple[ResponseScores, PairLogProbs | None]:
        """A micro-batch under policy and reference; on every rank in every turn, without pairs where it has none: a
        forward gathers weights from all."""
        batch = event.batch if event else idle_batch()
        # Before the policy keeps anything for its backward.
        expected = self.reference(batch) if self.reference else None
        found: ResponseScores = self.policy(batch)
        if event is None:
            return found, None
        return found, pair_log_probs(batch, found.responses, *(expected or StoredReference(event.reference)(batch)))


def clip(policy: nn.Module, largest: float) -> float:
    """Clip gradients to a norm over all (sharded) parameters, 0 for no clipping; gives the norm before."""
    trained = [p for p in policy.parameters() if p.grad is not None]
    if not trained:
        raise TrainingError("No parameter got a gradient.", remedy="Check what is frozen, and lora.targets.")
    norm: Any = nn.utils.clip_grad_norm_(trained, largest or float("inf"))
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def make_optimizer(policy: nn.Module, weight_decay: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW over the trained parameters; matrices decay, biases, norms and scales do not."""
    trained = [p for p in policy.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.is_cuda for p in trained)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=betas, fused=fused)


def lr_at(
    step: int, steps: int, *, peak_lr: float, warm_up: float, schedule: str = "cosine", final_lr: float = 0.0
) -> float:
    """Rate of optimizer step `step` (from 0) of `steps`: a linear rise over the first share `warm_up`, then the fall.

    A pure function of the step: nothing to save, nothing to restore. The first step already moves, and the last one
    still does: the rise ends at `peak_lr`, the fall would reach `final_lr` at step `steps`.
    """
    rising = math.ceil(warm_up * steps)
    if step < rising:
        return peak_lr * (step + 1) / rising
    passed = (step - rising) / max(1, steps - rising)
    if schedule == "cosine":
        return final_lr + (peak_lr - final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))
    return peak_lr if schedule == "constant" else final_lr + (peak_lr - final_lr) * max(0.0, 1 - passed)
