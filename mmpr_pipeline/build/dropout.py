"""DropNTP for one question: cut its good responses, continue them without the image, pair what can be used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mmpr_pipeline.build.judge import Recipe, check_rollouts
from mmpr_pipeline.errors import ItemRejected
from mmpr_pipeline.pairing.dropout_ntp import degenerate, parents_to_cut
from mmpr_pipeline.pairing.pairs import make_pair
from mmpr_pipeline.records import CheckedRollout, PreferencePair, Question, Rollout
from mmpr_pipeline.sampling.engine import ContinueRequest, Engine
from mmpr_pipeline.sampling.prompts import Turn, without_images
from mmpr_pipeline.sampling.seeds import continuation_seed

Continued = tuple[list[CheckedRollout], list[PreferencePair], str | None]


async def pair_by_dropout(
    question: Question, turn: Turn, checked: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
) -> Continued:
    """The continuations, the pairs that they make, and (where they make none) the reason."""
    parents = parents_to_cut(question, checked, most=recipe.pairing.dropout_pairs, seed=recipe.seed)
    first = max(r.index for r in checked) + 1
    requests = [_request(question, turn, parent, first + i, recipe) for i, parent in enumerate(parents)]
    results = await asyncio.gather(*(_continue(engine, request) for request in requests))
    return _pair(question, turn, parents, results, recipe)


def _pair(
    question: Question,
    turn: Turn,
    parents: Sequence[CheckedRollout],
    results: Sequence[Rollout | ItemRejected],
    recipe: Recipe,
) -> Continued:
    continued, pairs, dropped = [], [], []
    for parent, result in zip(parents, results, strict=True):
        if isinstance(result, ItemRejected):
            dropped.append(result.reason)
            continue
        continuation = check_rollouts(question, [result], recipe)[0]
        continued.append(continuation)
        if fault := degenerate(parent, continuation):
            dropped.append(fault)
        else:
            pairs.append(make_pair(question, turn.text, parent, continuation, "dropout_ntp"))
    return continued, pairs, None if pairs else min(dropped, default="no_response_to_cut")


def _request(question: Question, turn: Turn, parent: CheckedRollout, index: int, recipe: Recipe) -> ContinueRequest:
    return ContinueRequest(
        question=question,
        prompt=without_images(turn.text),
        prompt_version=turn.version,
        parent=Rollout(**{name: getattr(parent, name) for name in Rollout.model_fields}),
        ratio=recipe.pairing.dropout_ratio,
        seed=continuation_seed(recipe.seed, question.question_id, parent.index),
        index=index,
        decoding=recipe.sampling.decoding,
    )


async def _continue(engine: Engine, request: ContinueRequest) -> Rollout | ItemRejected:
    """The continuation, or why this parent has none: one parent's fault does not cost the others."""
    try:
        return await engine.continue_blind(request)
    except ItemRejected as reject:
        return reject
