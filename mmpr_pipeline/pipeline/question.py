"""The way of one question: rollouts, verdicts, pairs. Everything else in this room is about doing many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Question, QuestionOutcome
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.pairing.correctness import pair_by_correctness, why_unpaired
from mmpr_pipeline.pairing.dropout_ntp import pair_by_dropout
from mmpr_pipeline.pairing.preset import pair_as_given
from mmpr_pipeline.pairing.strategy import Recipe
from mmpr_pipeline.pipeline.outcome import outcome, rejected
from mmpr_pipeline.rollouts.prompts import Turn, turn_for
from mmpr_pipeline.rollouts.rounds import next_round
from mmpr_pipeline.rollouts.seeds import sampling_seed
from mmpr_pipeline.rollouts.verdicts import check_rollouts

RESPONSES_OF_A_PAIR = 2


async def work_question(question: Question, engine: Engine, recipe: Recipe) -> QuestionOutcome:
    """Sample, check and pair one question. A question that cannot be served comes back as rejected by name."""
    turn = turn_for(question, recipe.sampling.style, recipe.sampling.prompt_language, recipe.given)
    try:
        checked = await _sample(question, turn, engine, recipe)
        if recipe.given:
            return outcome(question, turn.text, checked, *pair_as_given(question, turn.text, checked))
        pairs = pair_by_correctness(question, turn.text, checked, recipe)
        if pairs:
            return outcome(question, turn.text, checked, pairs)
        reason: str | None = why_unpaired(question, checked)
        if reason in ("all_correct", "open_ended") and recipe.pairing.dropout_ntp and engine.can_continue:
            continued, pairs, reason = await pair_by_dropout(question, turn, checked, engine, recipe)
            checked = [*checked, *continued]
        return outcome(question, turn.text, checked, pairs, reason)
    except ItemRejected as reject:
        return rejected(question, turn.text, reject)


async def _sample(question: Question, turn: Turn, engine: Engine, recipe: Recipe) -> list[CheckedRollout]:
    """Rollouts with verdicts, round after round until enough or no longer worth it."""
    checked: list[CheckedRollout] = []
    number = 0
    while size := _round_size(question, checked, recipe):
        request = SampleRequest(
            question=question,
            prompt=turn.text,
            prompt_version=turn.version,
            n=size,
            seed=sampling_seed(recipe.seed, question.question_id, number),
            round=number,
            first_index=len(checked),
            decoding=recipe.sampling.decoding,
        )
        rollouts = await engine.sample(request)
        checked += await asyncio.to_thread(check_rollouts, question, rollouts, recipe)
        number += 1
        if len(rollouts) < size:  # recorded rollouts come to an end
            break
    return checked


def _round_size(question: Question, checked: Sequence[CheckedRollout], recipe: Recipe) -> int:
    """Rollouts to sample next. An open-ended question needs no more responses than will be cut."""
    rules = recipe.sampling
    if recipe.given:
        return 0 if checked else RESPONSES_OF_A_PAIR
    if question.kind == "none" or not rules.adaptive:
        most = min(rules.samples, recipe.pairing.dropout_pairs) if question.kind == "none" else rules.samples
        return max(0, most - len(checked))
    return next_round(
        len(_distinct(checked, "correct")),
        len(_distinct(checked, "incorrect")),
        len(checked),
        most=rules.samples,
        round_size=rules.round_size,
        max_pairs=recipe.pairing.max_pairs,
        price=rules.price,
        round_price=rules.round_price,
    )


def _distinct(checked: Sequence[CheckedRollout], verdict: str) -> set[str]:
    return {r.text.strip() for r in checked if r.outcome == verdict}
