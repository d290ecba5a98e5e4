"""Checks that stop a run before it wastes days: each raises TrainingError (a run) or ItemRejected (an item)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.objective.loss import LossSettings, is_reference_free, value_at_start

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
