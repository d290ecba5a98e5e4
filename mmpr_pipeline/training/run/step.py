"""One optimizer step: micro-batches until every rank has done its share, then checks, clipping, AdamW, δ.

The checks stop a run before it wastes days; each raises TrainingError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.data.encode import PairReject
from mmpr_pipeline.training.data.stream import EndOfStep, MicroBatch, idle_batch, in_turns
from mmpr_pipeline.training.objective.loss import (
    LossSettings,
    LossTerms,
    PairLogProbs,
    is_reference_free,
    mixed,
    pair_log_probs,
    value_at_start,
)
from mmpr_pipeline.training.objective.reference import Reference, stored_reference
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy, ResponseScores
from mmpr_pipeline.training.run.device import ModelShape, forward_flops
from mmpr_pipeline.training.world import World


@dataclass
class RewardShift:
    """δ of BCO: the mean of all rewards seen, over all ranks, updated once an optimizer step: `total` over `count`
    rewards of finished steps, chosen and rejected alike.

    Jung et al. 2024 (arXiv 2404.04656) shift both rewards by their mean, so that the classifier need not first learn
    the policy's overall drift away from the reference. Two habits of other trainers make runs irreproducible: δ moves
    within an optimizer step, so that it depends on how the step is cut into micro-batches, and it is not saved. Here a
    step uses the δ of the steps before it, and δ is part of the checkpoint.
    """

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


TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}
"""How far the first step's loss may be off: rounding of the forward, magnified by sums over hundreds of tokens."""


def check_first_loss(
    terms: Mapping[str, float],
    weights: Mapping[str, float],
    settings: LossSettings,
    dtype: torch.dtype = torch.float32,
    shift: float = 0.0,
) -> None:
    """Stop where the first step's preference loss, by the means of its `terms`, is not that of policy = reference.

    For MPO that is 0.8 ln 2 + 0.4 ln 2 = 0.8318, to which the SFT term adds the data's own NLL. Anything else means
    that policy and reference are not the same model, or see other tokens or images, or are not both deterministic.
    """
    expected = value_at_start(weights, settings, shift)
    compared = [name for name in terms if not is_reference_free(name)]
    observed = sum(weights[name] * terms[name] for name in compared)
    if compared and not abs(observed - expected) <= TOLERANCE[dtype] * max(1.0, abs(expected)):
        raise TrainingError(
            f"The first step's preference loss is {observed:.4f}; where policy and reference are the same model it is"
            f" {expected:.4f}.",
            remedy="Policy and reference differ: check that the reference was scored by the model that training starts"
            " from, with the same chat template, tile limit and precision. To train on from another policy on purpose,"
            " turn the check off.",
        )


def check_finite(value: float, what: str, step: int) -> None:
    """Stop at a loss or gradient norm that is not a number."""
    if not math.isfinite(value):
        raise TrainingError(
            f"The {what} is {value} at step {step}.",
            remedy="Resume from the last checkpoint with a lower learning rate or gradient clipping.",
        )


def check_completions(batch: PackedBatch) -> None:
    """Stop at a response without a scored token, or whose scored tokens are not exactly its own."""
    per_segment = torch.bincount(batch.score_segment, minlength=len(batch.layout.queries))
    scored = torch.zeros_like(batch.lengths).index_add(0, batch.path_response, per_segment[batch.path_segment])
    wrong = ((scored != batch.lengths) | (scored == 0)).nonzero().flatten().tolist()
    if wrong:
        raise TrainingError(
            f"Responses {wrong[:5]} of a batch have {scored[wrong[:5]].tolist()} scored tokens and"
            f" {batch.lengths[wrong[:5]].tolist()} tokens.",
            remedy="This is a bug in packing: please report it with the data set's name.",
        )


class Sums:
    """Sums over the pairs of one step on this rank, by name, which ranks can add up."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        terms = [f"loss/{term}" for term, weight in weights.items() if weight]
        names = [
            "pairs", "loss", *terms, "reward/chosen", "reward/rejected",
            "reward/accuracy", "kl", "nll", "imbalance", "tokens", "tiles", "flops", "rejected", "micro_batches",
        ]  # fmt: skip
        self.values = dict.fromkeys(names, 0.0)

    def add_batch(self, batch: PackedBatch, pairs: PairLogProbs, loss: LossTerms, beta: float, flops: float) -> None:
        """Add a micro-batch. One transfer from the device for all its numbers."""
        chosen, rejected = pairs.chosen_ratio.detach(), pairs.rejected_ratio.detach()
        found = {
            "loss": loss.total.detach(),
            **{f"loss/{name}": values for name, values in loss.terms.items()},
            "reward/chosen": beta * chosen,
            "reward/rejected": beta * rejected,
            "reward/accuracy": (chosen > rejected).double(),
            "kl": -(chosen + rejected) / 2,
            "nll": -pairs.chosen.detach() / pairs.chosen_tokens,
        }
        totals = dict(zip(found, torch.stack([v.double().sum() for v in found.values()]).tolist(), strict=True))
        tiles = len(batch.images.get("pixel_values", ()))
        totals |= {"pairs": batch.pairs, "tokens": batch.tokens, "tiles": tiles, "flops": flops, "micro_batches": 1}
        for name, amount in totals.items():
            self.values[name] += amount

    def result(self, world: World) -> dict[str, float]:
        """Over all ranks: means over pairs of what are sums over pairs. On every rank."""
        values = world.sum(torch.tensor([*self.values.values()], dtype=torch.float64))
        totals = dict(zip(self.values, values.tolist(), strict=True))
        count = max(1.0, totals["pairs"])
        per_run = {"pairs", "tokens", "tiles", "flops", "rejected", "micro_batches"}
        means = {name: value if name in per_run else value / count for name, value in totals.items()}
        return {**means, "reward/margin": means["reward/chosen"] - means["reward/rejected"]}


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
            sums.values["rejected"] += len(rejects)
            metrics = sums.result(self.world)
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
        for event in in_turns(self.world, events, rejects, self.stopping):
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
                sums.values["imbalance"] += batch.pairs * float(found.imbalance.detach())
            (total * (self.world.size / self.batch)).backward()
            sums.add_batch(batch, pairs, loss, self.settings.beta, 3.0 * forward_flops(self.shape, batch))
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
        return found, pair_log_probs(batch, found.responses, *(expected or stored_reference(event.reference, batch)))


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
