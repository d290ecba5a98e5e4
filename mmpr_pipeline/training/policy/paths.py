"""Shared prefixes or the plain path: chosen once, before training, and reported.

Types of models that the tests do not hold equal are compared on one question of the data: with shared prefixes and as
transformers computes them. What differs is trained by the plain path, which is always right and always slower; what
reads a response in both directions is not trained, as its log-probs would know the token that they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, islice

import torch
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch, collate, images_as
from mmpr_pipeline.training.data.groups import Group, IndexedPair
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.stream import Stream
from mmpr_pipeline.training.policy.families.family import CHECKED
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy, ResponseScores

APART = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""How far log-probs may be apart, in nats, on average over the tokens of a response: kernels round differently."""
LOOKED_AT = 1024  # questions, for one with an image


def choose_path(
    policy: PrefixSharedPolicy, stream: Stream, slices: Sequence[Slice], notify: Callable[[str], None]
) -> None:
    """Make the policy take the plain path where it must. On every rank, with the same `slices` of the data.

    Raises ConfigError where the model cannot be trained by either.
    """
    kind = policy.bare.config.model_type
    if kind not in CHECKED:  # compared on one question
        (group, images), allowed = _sample(stream, slices), APART.get(stream.dtype, 0.1)
        if (apart := _seen_ahead(policy, group, images)) > allowed:
            raise ConfigError(
                f"{kind} reads a response in both directions: with its end, its beginning differs by {apart:.2g} nats.",
                remedy="Use another model, or bring its family by the entry-point group `mmpr.families`.",
            )
        if policy.shares:
            try:
                apart = path_difference(policy, collate([group], [images]))
                trouble = f"log-probs {apart:.2g} nats a token from the model's own" if apart > allowed else ""
            except Exception as error:  # an unknown model fails in its own ways, and the plain path is its own forward
                trouble = str(error).splitlines()[0][:200]
            if trouble:
                policy.give_up_sharing(trouble)
            else:
                notify(
                    f"{kind}: shared prefixes compared with the model's own forward, {apart:.1e} nats a token apart."
                )
    if not policy.shares:
        outlines = stream.outlines(slices)
        shared, plain = (sum(o.tokens(0, len(o.pairs), shares) for o in outlines) for shares in (True, False))
        notify(f"{kind} cannot share prefixes ({'; '.join(policy.why_plain)}): each response is computed with its own")
        notify(f"image and prompt, {plain / max(1, shared):.1f} times the tokens.")


@torch.no_grad()
def path_difference(policy: PrefixSharedPolicy, batch: PackedBatch) -> float:
    """Nats a token between shared prefixes and the plain path, of the response where they are furthest apart."""
    shared, plain = policy(batch).responses, _scores_of_the_plain_path(policy, batch).responses
    return _most((shared - plain) / batch.lengths.to(plain.device))


@torch.no_grad()
def _seen_ahead(policy: PrefixSharedPolicy, group: Group, images: ImageInputs) -> float:
    """Nats by which the first half of the longest response is scored otherwise where the second half is not there."""
    longest = max(group.responses, key=len)
    pair = IndexedPair(group.pairs[0].pair_id, 0, 0)
    alone = [
        replace(group, responses=(response,), pairs=(pair,))
        for response in (longest, longest[: (len(longest) + 1) // 2])
    ]
    whole, cut = (_scores_of_the_plain_path(policy, collate([each], [images])).tokens for each in alone)
    return _most(whole[: len(cut)] - cut)


def _most(differences: Tensor) -> float:
    return float(differences.abs().nan_to_num(nan=torch.inf).max())


def _scores_of_the_plain_path(policy: PrefixSharedPolicy, batch: PackedBatch) -> ResponseScores:
    why, policy.why_plain = policy.why_plain, ["compared"]
    policy.release()
    try:
        found: ResponseScores = policy(batch)
        return found
    finally:
        policy.why_plain = why
        policy.take()


def _sample(stream: Stream, slices: Sequence[Slice]) -> tuple[Group, ImageInputs]:
    """One pair of one question, with an image if there is one: of `slices`, else of the data in order. Raises
    TrainingError where no pair can be used."""
    shards = stream.shards
    others = (Slice(shard, group, 0, 1) for shard in range(shards.of) for group in range(len(shards[shard].sizes)))
    best: tuple[Group, ImageInputs] | None = None
    for part in islice(chain(slices, others), LOOKED_AT):
        made = stream.encoder.encode(shards[part.shard], part.group, part.first, part.first + 1)
        if made.group and (made.images or best is None):
            best = made.group, images_as(stream.dtype, made.images)
        if made.group and made.images:
            break
    if best is None:
        raise TrainingError(
            "No pair of the first questions can be used.", remedy="See `mmpr verify` for what is wrong with them."
        )
    return best
