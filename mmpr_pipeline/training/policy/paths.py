"""Shared prefixes or the plain path: chosen once, before training, and reported.

Types of models that the tests do not hold equal are compared on one question of the data: with shared prefixes and as
transformers computes them. What differs is trained by the plain path, which is always right and always slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mmpr_pipeline.core.errors import TrainingError
from mmpr_pipeline.training.data.balance import Outline
from mmpr_pipeline.training.data.batch import PackedBatch, collate, images_as
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.stream import Stream
from mmpr_pipeline.training.policy.families import CHECKED
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy

APART = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""How far log-probs may be apart, in nats, on average over the tokens of a response: kernels round differently."""
TRIED = 64  # questions looked at for one with an image


def choose_path(
    policy: PrefixSharedPolicy, stream: Stream, slices: Sequence[Slice], notify: Callable[[str], None]
) -> None:
    """Make the policy take the plain path where it must. On every rank, with the same `slices` of the data."""
    kind = policy.bare.config.model_type
    if policy.shares and kind not in CHECKED:
        apart = path_difference(policy, _sample(stream, slices))
        if apart > APART.get(stream.dtype, 0.1):
            policy.give_up_sharing(f"log-probs {apart:.2g} nats a token from the model's own")
        else:
            notify(f"{kind}: shared prefixes compared with the model's own forward, {apart:.1e} nats a token apart.")
    if not policy.shares:
        notify(f"{kind} cannot share prefixes ({'; '.join(policy.why_plain)}): each response is computed with its own")
        notify(f"image and prompt, {cost_of_not_sharing(stream.outlines(slices)):.1f} times the tokens.")


def cost_of_not_sharing(outlines: Sequence[Outline]) -> float:
    """Tokens of rows for each response, over those of shared prefixes."""
    shared, plain = (sum(o.tokens(0, len(o.pairs), shares) for o in outlines) for shares in (True, False))
    return plain / max(1, shared)


@torch.no_grad()
def path_difference(policy: PrefixSharedPolicy, batch: PackedBatch) -> float:
    """Nats a token between shared prefixes and the plain path, of the response where they are furthest apart."""
    shared = policy(batch).responses
    why, policy.why_plain = policy.why_plain, ["compared"]
    policy.release()
    try:
        plain = policy(batch).responses
    finally:
        policy.why_plain = why
        policy.take()
    apart = (shared - plain).abs() / batch.lengths.to(plain.device)
    return float(apart.nan_to_num(nan=torch.inf).max())


def _sample(stream: Stream, slices: Sequence[Slice]) -> PackedBatch:
    """One pair of one question, with an image if there is one. Raises TrainingError where no pair can be used."""
    best: PackedBatch | None = None
    for part in slices[:TRIED]:
        made = stream.encoder.encode(stream.shards[part.shard], part.group, part.first, part.first + 1)
        if made.group is None:
            continue
        images = images_as(stream.dtype, made.images)
        if images:
            return collate([made.group], [images])
        best = best or collate([made.group], [{}])
    if best is None:
        raise TrainingError(
            "No pair of the first questions can be used.", remedy="See `mmpr verify` for what is wrong with them."
        )
    return best
