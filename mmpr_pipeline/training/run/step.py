"""One optimizer step: micro-batches until every rank has done its share, then checks, clipping, AdamW, δ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.data.encode import PairReject
from mmpr_pipeline.training.data.stream import EndOfStep, MicroBatch, idle_batch
from mmpr_pipeline.training.distributed.stopping import Stopped
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.objective.checks import check_completions, check_finite, check_first_loss
from mmpr_pipeline.training.objective.loss import LossSettings, LossTerms, mixed
from mmpr_pipeline.training.objective.pair_scores import pair_log_probs
from mmpr_pipeline.training.objective.reference import Reference, StoredReference
from mmpr_pipeline.training.objective.reward_shift import RewardShift
from mmpr_pipeline.training.policy.flops import ModelShape, training_flops
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
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
        sums, rejects = self._accumulate(events)
        sums.add(rejected=len(rejects))
        metrics = sums.result(self.world.sum(sums.values))
        check_finite(metrics["loss"], "loss", number)
        if not metrics["pairs"]:
            self.optimizer.zero_grad(set_to_none=True)
            return {**metrics, "grad_norm": 0.0, "delta": delta}, rejects
        if check_start is not None:
            terms = {n.partition("/")[2]: torch.tensor([v]) for n, v in metrics.items() if n.startswith("loss/")}
            total = torch.tensor([metrics["loss"]])
            check_first_loss(LossTerms(total, terms), self.weights, self.settings, check_start, self.shift.value)
        # A step's gradient is the mean over the pairs that were used: fewer than `batch` where some were left
        # out.
        factor = self.batch / metrics["pairs"]
        if factor != 1.0:
            for parameter in self.policy.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        norm = clip(self.policy, self.max_grad_norm)
        check_finite(norm, "gradient norm", number)
        pairs = metrics["pairs"]
        self.shift.end_step(pairs * (metrics["reward/chosen"] + metrics["reward/rejected"]), 2 * int(pairs))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {**metrics, "grad_norm": norm, "delta": delta}, rejects

    def _accumulate(self, events: Events) -> tuple[Sums, tuple[PairReject, ...]]:
        """Forward and backward of this rank's micro-batches; idle ones as long as another rank has work."""
        sums = Sums([name for name, weight in self.weights.items() if weight])
        rejects: tuple[PairReject, ...] = ()
        mine = True
        while True:
            event = next(events) if mine else None
            if isinstance(event, EndOfStep):
                mine, rejects, event = False, event.rejects, None
            stop, more = self.world.any(self.stopping(), mine)
            if stop:
                self.optimizer.zero_grad(set_to_none=True)
                raise Stopped
            if not more:
                return sums, rejects
            batch = event.batch if event else idle_batch()
            # Idle ranks too: a forward gathers weights from all. And before the policy keeps anything for its backward.
            expected = self.reference(batch) if self.reference else None
            found = self.policy(batch)
            scores = found.responses
            if event is None:
                (scores.sum() * 0.0).backward()
                continue
            check_completions(batch)
            pairs = pair_log_probs(batch, scores, *(expected or StoredReference(event.reference)(batch)))
            loss = mixed(pairs, self.weights, self.settings, self.shift.value)
            # Sharded gradients are means over ranks; of a step's pairs, the sum over ranks is wanted.
            total = (loss.total * batch.weights.to(scores)).sum()
            if found.imbalance is not None and self.policy.experts:
                total = total + batch.pairs * self.policy.experts.weight * found.imbalance
                sums.add(imbalance=batch.pairs * float(found.imbalance.detach()))
            (total * (self.world.size / self.batch)).backward()
            sums.add_batch(batch, pairs, loss, self.settings.beta, training_flops(self.shape, batch))


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
