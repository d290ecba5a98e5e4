"""Log-probabilities of pairs under a model."""

from __future__ import annotations

from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.objective.loss import PairLogProbs


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
