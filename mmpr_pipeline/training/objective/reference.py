"""Where the reference's log-probs come from, and the pass that scores it once, before training.

stored       computed once in a prefix-shared pass, kept as a column file beside the shards: no second model in training
             memory, no second forward in any epoch. The default.
adapter_off  with LoRA: the same model with its adapters off
online       a second model in memory: for a reference that moves (TR-DPO), or when asked for
none         for losses that use none (SFT, ORPO)

Each shard is scored by all ranks together. A pass that is interrupted goes on with the first shard that has no column
file. Where the dataset cannot be written to, the columns are kept in the run's directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.storage import Store
from mmpr_pipeline.training.data.batch import PackedBatch
from mmpr_pipeline.training.data.encode import PairReject
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.shards import ReferenceKey, ReferenceRow, read_reference, write_reference
from mmpr_pipeline.training.data.stream import Stream, idle_batch, in_turns, prefetch
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.world import World

OVER_BUDGET = ("pair_over_budget", "prompt_over_budget")
Progress = Callable[[int, int], None]
Reference = Callable[[PackedBatch], tuple[Tensor, Tensor]]
"""log π_ref of a batch's pairs, in their order: chosen (P,) and rejected (P,), float32, without gradient."""


def no_reference(batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Zeros (P,), for losses that look at no reference."""
    return torch.zeros(batch.pairs), torch.zeros(batch.pairs)


def stored_reference(rows: Mapping[str, ReferenceRow], batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """(P,) twice, of rows that an earlier pass computed. Raises TrainingError for a pair that was never scored, or
    whose tokens were others then."""
    lengths = batch.lengths.cpu()
    now = zip(lengths[batch.chosen.cpu()].tolist(), lengths[batch.rejected.cpu()].tolist(), strict=True)
    scored = []
    for pair_id, after in zip(batch.pair_ids, now, strict=True):
        row = rows.get(pair_id)
        if row is None or row.chosen is None or row.rejected is None:
            why = "no row" if row is None else row.reason
            raise TrainingError(
                f"Pair {pair_id} has no reference log-prob ({why}).",
                remedy="The shards changed since the reference was scored: delete the reference column and run again.",
            )
        scored.append((row.chosen, row.rejected))
        if (before := (row.chosen_tokens, row.rejected_tokens)) != after:
            raise TrainingError(
                f"Pair {pair_id} has {after} tokens (chosen, rejected), {before} when the reference was scored.",
                remedy="Tokenizer or chat template changed: delete the reference column, it is computed again.",
            )
    values = torch.tensor(scored, dtype=torch.float32).view(-1, 2)
    return values[:, 0], values[:, 1]


def online_reference(policy: PrefixSharedPolicy) -> Reference:
    """Scores each batch with a model of its own."""
    return partial(_score, policy.requires_grad_(False).eval())


def adapter_off_reference(policy: PrefixSharedPolicy) -> Reference:
    """Scores each batch with the policy's own base model. Raises ConfigError where there are no adapters."""
    adapters: Any = policy.model
    if not hasattr(adapters, "disable_adapter"):
        raise ConfigError(
            "reference=adapter_off needs a LoRA model; this one has no adapters.",
            remedy="Train with LoRA, or let the reference be computed once and stored.",
        )

    def reference(batch: PackedBatch) -> tuple[Tensor, Tensor]:
        trained = [p for p in policy.parameters() if p.requires_grad]
        with adapters.disable_adapter():
            for parameter in trained:  # peft froze them; FSDP, whose first forward this may be, would hold them frozen
                parameter.requires_grad_(True)
            found: tuple[Tensor, Tensor] = _score(policy, batch)
            return found

    return reference


@torch.no_grad()
def _score(policy: PrefixSharedPolicy, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    scores = policy(batch).responses
    return scores[batch.chosen.to(scores.device)], scores[batch.rejected.to(scores.device)]


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


def reference_rows(policy: PrefixSharedPolicy, batch: PackedBatch) -> list[ReferenceRow]:
    """Score a batch for the column file: one row a pair, in the batch's order."""
    chosen, rejected = (values.double().tolist() for values in _score(policy, batch))
    tokens = (batch.lengths[which.to(batch.lengths.device)].tolist() for which in (batch.chosen, batch.rejected))
    return [ReferenceRow(*row) for row in zip(batch.pair_ids, chosen, rejected, *tokens, strict=True)]


def score_shards(
    policy: PrefixSharedPolicy,
    stream: Stream,
    world: World,
    store: Store,
    key: ReferenceKey,
    progress: Progress,
    stopping: Callable[[], bool] = bool,
) -> Callable[[int], dict[str, ReferenceRow] | None]:
    """Score the shards that have no column file yet; gives what reads a shard's rows, by pair id.

    Raises Stopped where any rank is asked to stop; shards that are scored stay so.
    """
    num_shards = stream.shards.of

    def missing_shards() -> list[int]:
        """Those that never were scored, or where pairs were too long for a smaller budget than today's."""
        found = []
        for shard in range(num_shards):
            rows = read_reference(store, key, shard, num_shards)
            reasons = (row.reason.partition(":") for row in (rows or {}).values() if row.reason)
            if rows is None or any(name in OVER_BUDGET and int(then or 0) < stream.budget for name, _, then in reasons):
                found.append(shard)
        return found

    missing = world.on_main(missing_shards)
    for done, shard in enumerate(missing):
        progress(done, len(missing))
        opened = stream.shards[shard]
        slices = [Slice(shard, group, 0, size) for group, size in enumerate(opened.sizes)]
        mine: list[ReferenceRow] = []
        rejects: list[PairReject] = []
        with closing(prefetch(stream.steps([(shard, slices)]))) as events:
            for event in in_turns(world, events, rejects, stopping):
                rows = reference_rows(policy, event.batch if event else idle_batch())
                mine += rows if event else []
        for reject in rejects:
            budget = f":{stream.budget}" if reject.reason in OVER_BUDGET else ""
            mine.append(ReferenceRow(reject.pair_id, None, None, 0, 0, reject.reason + budget))
        by_id = {row.pair_id: row for part in world.all_gather(mine) for row in part}
        in_order = [by_id[pair.pair_id] for group in range(len(slices)) for pair in opened.pairs(group)]
        world.on_main(partial(write_reference, store, key, shard, num_shards, in_order))
    if missing:
        progress(len(missing), len(missing))

    return lru_cache(maxsize=16)(partial(read_reference, store, key, num_shards=num_shards))
