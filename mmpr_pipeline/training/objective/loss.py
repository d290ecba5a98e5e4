"""Preference losses, one pure function each, and their weighted sum: MPO.

Mixed Preference Optimization (Wang et al. 2024, arXiv 2411.10442, eq. 1-6):

    L = w_p L_dpo + w_q L_bco + w_g L_sft,    w = (0.8, 0.2, 1.0), β = 0.1

Notation, for a prompt x (text and image) with chosen response y_c and rejected response y_r:

    log π(y)    sum over the tokens of y of log π(token | x, tokens before), end-of-turn token included
    h_c, h_r    log π(y_c) - log π_ref(y_c) and the same for y_r: the log-ratios
    β h         the (implicit) reward of a response

Every term maps P pairs to P values, without reduction; the caller takes the mean over the pairs of an optimizer step,
which makes gradient accumulation and unequal micro-batches exact. No term looks at another pair, except AOT's, which
compares the distributions within one micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.training.data.batch import PackedBatch


@dataclass(frozen=True)
class PairLogProbs:
    """What the losses see of P pairs: summed log-probs of whole responses, and the responses' lengths. All (P,)."""

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor
    ref_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def chosen_ratio(self) -> Tensor:
        """h_c = log π(y_c) - log π_ref(y_c), (P,)."""
        return self.chosen - self.ref_chosen

    @property
    def rejected_ratio(self) -> Tensor:
        """h_r = log π(y_r) - log π_ref(y_r), (P,)."""
        return self.rejected - self.ref_rejected

    @property
    def margin(self) -> Tensor:
        """h_c - h_r, (P,)."""
        return self.chosen_ratio - self.rejected_ratio


def pair_log_probs(batch: PackedBatch, scores: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> PairLogProbs:
    """What the losses need: scores (R,) by response, reference log-probs (P,) by pair, all to the scores' device."""
    chosen, rejected, lengths = (t.to(scores.device) for t in (batch.chosen, batch.rejected, batch.lengths))
    return PairLogProbs(
        chosen=scores[chosen],
        rejected=scores[rejected],
        ref_chosen=ref_chosen.to(scores),
        ref_rejected=ref_rejected.to(scores),
        chosen_tokens=lengths[chosen],
        rejected_tokens=lengths[rejected],
    )


@dataclass(frozen=True)
class LossSettings:
    """Constants of the losses. `beta` scales rewards (for IPO it is the paper's τ); `label_noise` is ε of cDPO, Robust
    DPO and AOT: the share of pairs believed to be labelled the wrong way round."""

    beta: float = 0.1
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ConfigError(f"beta is {self.beta}.", remedy="Give a positive beta; the paper uses 0.1.")
        if not 0 <= self.label_noise < 0.5:
            raise ConfigError(
                f"label_noise is {self.label_noise}.", remedy="Give a share of wrong labels from 0 to below 0.5."
            )


def dpo(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """-log σ(β (h_c - h_r)). Rafailov et al. 2023, arXiv 2305.18290, eq. 7; ln 2 where policy = reference. (P,)"""
    return -F.logsigmoid(settings.beta * pairs.margin)


def dpo_norm(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """-log σ(β (h_c / |y_c| - h_r / |y_r|)): length-normalised DPO. (P,)

    Lambert et al. 2024 (Tülu 3), arXiv 2411.15124, section 5.1, who take β = 5: ratios are means over tokens, about two
    orders of magnitude smaller than the sums of DPO.
    """
    margin = pairs.chosen_ratio / pairs.chosen_tokens - pairs.rejected_ratio / pairs.rejected_tokens
    return -F.logsigmoid(settings.beta * margin)


def bco(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """-log σ(β h_c - δ) - log σ(-(β h_r - δ)), δ = `shift`, the running mean of rewards (`run.step.RewardShift`).

    Jung et al. 2024, arXiv 2404.04656; 2 ln 2 where policy = reference and δ = 0. (P,)
    """
    chosen, rejected = settings.beta * pairs.chosen_ratio, settings.beta * pairs.rejected_ratio
    return -F.logsigmoid(chosen - shift) - F.logsigmoid(-(rejected - shift))


def sft(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """-log π(y_c) / |y_c|: the mean over a response's tokens, each response counting the same (eq. 6 of MPO). (P,)"""
    return -pairs.chosen / pairs.chosen_tokens


def cdpo(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """-(1-ε) log σ(βΔ) - ε log σ(-βΔ), Δ = h_c - h_r. Mitchell 2023, "A note on DPO with noisy preferences". (P,)"""
    logits, noise = settings.beta * pairs.margin, settings.label_noise
    return -(1 - noise) * F.logsigmoid(logits) - noise * F.logsigmoid(-logits)


def robust_dpo(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """(-(1-ε) log σ(βΔ) + ε log σ(-βΔ)) / (1 - 2ε): unbiased where a share ε of labels is flipped. (P,)

    Chowdhury et al. 2024, "Provably Robust DPO", arXiv 2403.00409.
    """
    logits, noise = settings.beta * pairs.margin, settings.label_noise
    return (-(1 - noise) * F.logsigmoid(logits) + noise * F.logsigmoid(-logits)) / (1 - 2 * noise)


def ipo(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """(h_c/|y_c| - h_r/|y_r| - 1/(2β))². Azar et al. 2023, arXiv 2310.12036, eq. 17, with β for τ. (P,)

    Ratios are means over tokens: with sums the target 1/(2β) would mean something else for each length. The paper
    leaves it open; public implementations, TRL's among them, agreed on means.
    """
    margin = pairs.chosen_ratio / pairs.chosen_tokens - pairs.rejected_ratio / pairs.rejected_tokens
    return (margin - 1 / (2 * settings.beta)) ** 2


def rso(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """max(0, 1 - βΔ). Liu et al. 2023 (RSO), arXiv 2309.06657; SLiC on normalised likelihoods. (P,)"""
    return torch.relu(1 - settings.beta * pairs.margin)


def sppo(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """(h_c - 1/(2β))² + (h_r + 1/(2β))². Wu et al. 2024, arXiv 2405.00675, eq. 4.7, hard labels, β for 1/η. (P,)"""
    goal = 0.5 / settings.beta
    return (pairs.chosen_ratio - goal) ** 2 + (pairs.rejected_ratio + goal) ** 2


def aot(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """cDPO's loss on the sorted policy margins against the sorted reference margins of the micro-batch. (P,)

    Melnyk et al. 2024 (Alignment via Optimal Transport, paired), arXiv 2406.05882. With P = 1 it is DPO.
    """
    policy = (pairs.chosen - pairs.rejected).sort().values
    reference = (pairs.ref_chosen - pairs.ref_rejected).sort().values
    logits, noise = settings.beta * (policy - reference), settings.label_noise
    return -(1 - noise) * F.logsigmoid(logits) - noise * F.logsigmoid(-logits)


def odds_ratio(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> Tensor:
    """-log σ(log odds(y_c) - log odds(y_r)), odds(y) = p/(1-p) with p = π(y)^(1/|y|); no reference. (P,)

    Hong et al. 2024 (ORPO), arXiv 2403.07691; ORPO is this, weighted by λ, plus the SFT term.
    """
    chosen, rejected = pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens
    return -F.logsigmoid((chosen - rejected) - (_log1mexp(chosen) - _log1mexp(rejected)))


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, without cancellation near 0 (Maechler 2012); x = 0 is nudged to stay finite."""
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near = x > -math.log(2)
    # Each branch sees only values it is safe for, so that no nan gradient leaks through `where`.
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, x, -1.0))),
        torch.log1p(-torch.exp(torch.where(near, -1.0, x))),
    )


Term = Callable[[PairLogProbs, LossSettings, float], Tensor]

TERMS: dict[str, Term] = {
    term.__name__: term for term in (dpo, dpo_norm, bco, sft, cdpo, robust_dpo, ipo, rso, sppo, aot, odds_ratio)
}
LOSSES: Registry[Term] = Registry("mmpr.losses", "loss", {name: f"{__name__}:{name}" for name in TERMS})
"""The terms by name: those above, and those of distributions (entry points `mmpr.losses`), which are callables of the
same signature. One that reads no reference log-probs says so by an attribute: `mine.reference_free = True`."""

# TR-DPO (Gorbatovski et al. 2024, arXiv 2404.09656) is DPO's loss under a reference that follows the policy:
# `reference.follow_policy`. ORPO's λ is 0.1, its paper's choice for 7B models.
RECIPES: dict[str, dict[str, float]] = {
    "mpo": {"dpo": 0.8, "bco": 0.2, "sft": 1.0},
    **{name: {name: 1.0} for name in TERMS if name != "odds_ratio"},
    **{f"{name}+sft": {name: 1.0, "sft": 1.0} for name in TERMS if name not in ("sft", "odds_ratio")},
    "tr_dpo": {"dpo": 1.0},
    "tr_dpo+sft": {"dpo": 1.0, "sft": 1.0},
    "orpo": {"odds_ratio": 0.1, "sft": 1.0},
}
REFERENCE_FREE = frozenset({"sft", "odds_ratio"})


def recipe(name: str) -> dict[str, float]:
    """Weights by term of a named recipe, e.g. `mpo` or `ipo+sft`: a row of the paper's ablation table."""
    if name in RECIPES:
        return dict(RECIPES[name])
    term, plus, sft_too = name.partition("+")
    others = LOSSES.names()[len(TERMS) :]
    if term not in others or (plus and sft_too != "sft"):
        raise ConfigError(f"Unknown loss {name!r}.", remedy=f"Use one of: {', '.join([*sorted(RECIPES), *others])}.")
    return {term: 1.0, **({"sft": 1.0} if plus else {})}


_term = cache(LOSSES.get)  # finding a distribution's takes milliseconds, and every micro-batch asks


def is_reference_free(term: str) -> bool:
    """Whether a term uses no reference log-probs."""
    return term in REFERENCE_FREE or (term not in TERMS and getattr(_term(term), "reference_free", False))


def needs_reference(weights: Mapping[str, float]) -> bool:
    """Whether a weighted sum uses reference log-probs at all."""
    return any(weight and not is_reference_free(term) for term, weight in weights.items())


@dataclass(frozen=True)
class LossTerms:
    """The weighted sum (P,), with gradient, and each term unweighted and detached (P,), for watching."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


def mixed(pairs: PairLogProbs, weights: Mapping[str, float], settings: LossSettings, shift: float = 0.0) -> LossTerms:
    """Σ_k w_k L_k over the terms named in `weights`. Raises ConfigError for an unknown term or no term at all."""
    unknown = sorted(name for name in weights if name not in TERMS and name not in LOSSES.names())
    if unknown or not any(weights.values()):
        what = f"Unknown loss terms: {', '.join(unknown)}." if unknown else "Every loss weight is zero."
        raise ConfigError(what, remedy=f"Weight some of: {', '.join(LOSSES.names())}.")
    values = {name: _term(name)(pairs, settings, shift) for name, weight in weights.items() if weight}
    total = torch.stack([weights[name] * value for name, value in values.items()]).sum(0)
    return LossTerms(total, {name: value.detach() for name, value in values.items()})


def mpo(pairs: PairLogProbs, shift: float = 0.0, settings: LossSettings | None = None) -> LossTerms:
    """The paper's loss, 0.8 L_dpo + 0.2 L_bco + 1.0 L_sft; 0.8 ln 2 + 0.4 ln 2 + NLL where policy = reference. (P,)"""
    return mixed(pairs, RECIPES["mpo"], settings or LossSettings(), shift)


def value_at_start(weights: Mapping[str, float], settings: LossSettings, shift: float = 0.0) -> float:
    """What the terms other than `sft` and `odds_ratio` add up to where policy = reference: 0.8318 for MPO with δ = 0.

    Independent of the pairs; the start-up check compares a run's first step with it.
    """
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    same = PairLogProbs(zero, zero, zero, zero, one, one)
    return sum(
        w * float(_term(name)(same, settings, shift)) for name, w in weights.items() if not is_reference_free(name)
    )
