"""How steps are computed, chosen before the first one by what is measured on the data: shared prefixes or the plain
path, how many tokens at a time, and what layers keep.

Types of models that the tests do not hold equal are compared on one question of the data: with shared prefixes and as
transformers computes them. What differs is trained by the plain path, which is always right and always slower; what
reads a response in both directions is not trained, as its log-probs would know the token that they are of.

Then pairs of the data are scored and differentiated in two sizes. Memory grows evenly with tokens (attention keeps no
square), so the two tell what a micro-batch of any size takes, without ever coming near the device's end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch, collate, images_as
from mmpr_pipeline.training.data.groups import Group, IndexedPair
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.stream import MicroBatch, Stream, idle_batch
from mmpr_pipeline.training.policy.families.family import CHECKED
from mmpr_pipeline.training.policy.layers import Checkpointing, Recompute, set_checkpointing
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy, ResponseScores
from mmpr_pipeline.training.run.device import GIB, most_memory
from mmpr_pipeline.training.settings import MOST_TOKENS
from mmpr_pipeline.training.world import World

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


class StepFit(NamedTuple):
    """Tokens of a micro-batch, what layers of the language model and of the vision tower keep of it, and the bytes that
    a step then takes of each rank's device."""

    token_budget: int
    recompute: Checkpointing
    recompute_vision: Checkpointing
    needed: int


class DryStep(NamedTuple):
    """One forward and backward: its tokens, the bytes held before it, and the most held during it."""

    tokens: int
    rest: int
    peak: int


class MemoryGrowth(NamedTuple):
    """Bytes that a step takes, by its tokens."""

    start: float
    a_token: float

    @classmethod
    def of(cls, small: DryStep, large: DryStep) -> MemoryGrowth:
        """From two sizes. Where they are too near for a slope, all that the larger one added is laid to its tokens."""
        most = max(0, large.peak - large.rest) / max(1, large.tokens)
        apart = large.tokens - small.tokens
        a_token = min(most, max(0.0, (large.peak - small.peak) / apart)) if 8 * apart >= small.tokens > 0 else most
        return cls(large.peak - a_token * large.tokens, a_token)

    def at(self, tokens: float) -> int:
        return int(self.start + self.a_token * tokens)


def fit_step(
    policy: PrefixSharedPolicy,
    stream: Stream,
    slices: Sequence[Slice],
    world: World,
    token_budget: int | None,
    recompute: Recompute,
    recompute_vision: Recompute,
    room: int,
) -> StepFit:
    """The quickest way to compute steps within `room` bytes of each device; the policy is set to it. On every rank.

    What the settings name is kept. Else these are tried in order: `MOST_TOKENS` with the results of matrix products
    kept, then half of the tokens; both with only the layers' inputs of the vision tower kept, whose layers are the
    cheaper ones; both with only the inputs of all layers kept. Half of the tokens are tried only where the pairs of
    `slices`, a step's, fit in them well. Raises TrainingError where nothing fits.
    """
    most = token_budget or MOST_TOKENS
    outlines = stream.outlines(slices)
    longest = max(o.tokens(i, i + 1, stream.shares) for o in outlines for i in range(len(o.pairs)))
    whole = 1.2 * sum(o.tokens(0, len(o.pairs), stream.shares) for o in outlines) / world.size
    halves = token_budget is None and 1.5 * longest < most // 2
    small = min(most, max(most // 8, int(1.1 * longest)))
    needed = 0
    for kind, vision in kinds_of(recompute, recompute_vision):
        growth = _measure(policy, stream, slices, world, (kind, vision), (small, min(most, 2 * small)))
        for budget in (most, most // 2) if halves else (most,):
            needed = growth.at(min(budget, max(whole, longest)))
            if needed <= room:
                set_checkpointing(policy.bare, kind, vision)
                return StepFit(budget, kind, vision, needed)
    raise TrainingError(
        f"A step of {most:,} tokens needs about {needed / GIB:.1f} GiB (recompute: {kind}, of the vision tower"
        f" {vision}), there are {room / GIB:.1f} GiB for it.",
        remedy="Lower the token budget or the image budget, set recompute to full, freeze the vision tower, use LoRA,"
        " or train on more devices.",
    )


def kinds_of(recompute: Recompute, vision: Recompute) -> list[tuple[Checkpointing, Checkpointing]]:
    """What language model and vision tower may keep, the quickest first. A tower that is left open is as the language
    model, or keeps less."""
    text: list[Checkpointing] = ["matmuls", "full"] if recompute == "auto" else [recompute]
    if vision != "auto":
        return [(kind, vision) for kind in text]
    if recompute != "auto":
        return [(recompute, recompute)]
    return [("matmuls", "matmuls"), ("matmuls", "full"), ("full", "full")]


def _measure(
    policy: PrefixSharedPolicy,
    stream: Stream,
    slices: Sequence[Slice],
    world: World,
    kinds: tuple[Checkpointing, Checkpointing],
    budgets: tuple[int, int],
) -> MemoryGrowth:
    """By one forward and backward of micro-batches of about `budgets` tokens; the dearest rank counts."""
    set_checkpointing(policy.bare, *kinds)
    found: list[DryStep] = []
    for budget in budgets:
        with closing(replace(stream, budget=budget).steps([(0, list(slices))])) as events:  # type: ignore[type-var]
            first = next(events)
        batch = first.batch if isinstance(first, MicroBatch) else idle_batch()
        rest = most_memory(world.device, forget=True)
        (policy(batch).responses.sum() * 0.0).backward()
        peak = most_memory(world.device)
        policy.zero_grad(set_to_none=True)
        tokens = batch.tokens * (len(batch.lengths) if not stream.shares else 1)
        found.append(DryStep(tokens, rest, peak))
    trained: list[Any] = [p for p in policy.parameters() if p.requires_grad]
    moments = sum(8 * (p.to_local() if hasattr(p, "to_local") else p).numel() for p in trained)
    growths = [MemoryGrowth.of(small, large) for small, large in world.all_gather(found)]
    dearest = max(growths, key=lambda growth: growth.at(MOST_TOKENS))
    return dearest._replace(start=dearest.start + moments)
