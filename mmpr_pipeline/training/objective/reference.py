"""Where the reference's log-probs come from. A reference is called with a batch and answers for its pairs.

StoredReference      computed once in a prefix-shared pass, kept as a column file beside the shards: no second
                     model in training memory, no second forward in any epoch. The default.
AdapterOffReference  with LoRA: the same model with its adapters off
OnlineReference      a second model in memory: for a reference that moves (TR-DPO), or when asked for
NoReference          for losses that use none (SFT, ORPO)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.data.reference_column import ReferenceRow
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy


class Reference(Protocol):
    """log π_ref of a batch's pairs: chosen (P,) and rejected (P,), float32, without gradient."""

    def __call__(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Answer for the batch's pairs, in their order."""


class NoReference:
    """Zeros, for losses that look at no reference."""

    def __call__(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """(P,) zeros twice."""
        return torch.zeros(batch.pairs), torch.zeros(batch.pairs)


class StoredReference:
    """Looks pairs up in rows that an earlier pass computed."""

    def __init__(self, rows: Mapping[str, ReferenceRow]) -> None:
        self.rows = rows

    def __call__(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """(P,) twice. Raises TrainingError for a pair that was never scored, or whose tokens were others then."""
        lengths = batch.lengths.cpu()
        now = zip(lengths[batch.chosen.cpu()].tolist(), lengths[batch.rejected.cpu()].tolist(), strict=True)
        scored = []
        for pair_id, after in zip(batch.pair_ids, now, strict=True):
            row = self.rows.get(pair_id)
            if row is None or row.chosen is None or row.rejected is None:
                why = "no row" if row is None else row.reason
                raise TrainingError(
                    f"Pair {pair_id} has no reference log-prob ({why}).",
                    remedy="The shards changed since the reference was scored: delete the reference column and run"
                    " again.",
                )
            scored.append((row.chosen, row.rejected))
            if (before := (row.chosen_tokens, row.rejected_tokens)) != after:
                raise TrainingError(
                    f"Pair {pair_id} has {after} tokens (chosen, rejected), {before} when the reference was scored.",
                    remedy="Tokenizer or chat template changed: delete the reference column, it is computed again.",
                )
        values = torch.tensor(scored, dtype=torch.float32).view(-1, 2)
        return values[:, 0], values[:, 1]


class OnlineReference:
    """Scores each batch with a model of its own."""

    def __init__(self, policy: PrefixSharedPolicy) -> None:
        self.policy = policy.requires_grad_(False).eval()

    def __call__(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """(P,) twice."""
        found: tuple[Tensor, Tensor] = _score(self.policy, batch)
        return found


class AdapterOffReference:
    """Scores each batch with the policy's own base model. Raises ConfigError where there are no adapters."""

    def __init__(self, policy: PrefixSharedPolicy) -> None:
        if not hasattr(policy.model, "disable_adapter"):
            raise ConfigError(
                "reference=adapter_off needs a LoRA model; this one has no adapters.",
                remedy="Train with LoRA, or let the reference be computed once and stored.",
            )
        self.policy = policy

    def __call__(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """(P,) twice."""
        adapters: Any = self.policy.model
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        with adapters.disable_adapter():
            for parameter in trained:  # peft froze them; FSDP, whose first forward this may be, would hold them frozen
                parameter.requires_grad_(True)
            found: tuple[Tensor, Tensor] = _score(self.policy, batch)
            return found


@torch.no_grad()
def _score(policy: PrefixSharedPolicy, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    scores = policy(batch).responses
    return scores[batch.chosen.to(scores.device)], scores[batch.rejected.to(scores.device)]


def reference_rows(policy: PrefixSharedPolicy, batches: Iterable[PackedBatch]) -> Iterator[ReferenceRow]:
    """Score batches for the column file: one row a pair, in the batches' order."""
    for batch in batches:
        chosen, rejected = (values.double().tolist() for values in _score(policy, batch))
        lengths = batch.lengths.tolist()
        pairs = zip(batch.pair_ids, chosen, rejected, batch.chosen.tolist(), batch.rejected.tolist(), strict=True)
        for pair_id, log_chosen, log_rejected, c, r in pairs:
            yield ReferenceRow(pair_id, log_chosen, log_rejected, lengths[c], lengths[r])


@torch.no_grad()
def follow_policy(reference: nn.Module, policy: nn.Module, share: float) -> None:
    """TR-DPO's update of a moving reference: π_ref <- share π + (1 - share) π_ref, in place, every few steps.

    Gorbatovski et al. 2024, arXiv 2404.09656: soft with a share of about 0.6, hard with 1. Both modules must be
    sharded alike, and no gathered weights in use (between two steps).
    """
    if not 0 < share <= 1:
        raise ConfigError(f"The share of the policy is {share}.", remedy="Give a share above 0, up to 1.")
    for old, new in zip(reference.parameters(), policy.parameters(), strict=True):
        old.lerp_(new.to(old.dtype), share)
