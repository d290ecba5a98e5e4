"""The way of one question: rollouts, verdicts, pairs. Everything else in this room is about doing many of them."""

from __future__ import annotations

import asyncio

from mmpr_pipeline.build.dropout import pair_by_dropout
from mmpr_pipeline.build.judge import Recipe, check_rollouts, pair_by_correctness, why_unpaired
from mmpr_pipeline.build.outcome import outcome, rejected
from mmpr_pipeline.errors import ItemRejected
from mmpr_pipeline.records import Question, QuestionOutcome
from mmpr_pipeline.sampling.engine import Engine, SampleRequest
from mmpr_pipeline.sampling.prompts import Turn, turn_for
from mmpr_pipeline.sampling.seeds import sampling_seed


async def work_question(question: Question, engine: Engine, recipe: Recipe) -> QuestionOutcome:
    """Sample, check and pair one question. A question that cannot be served comes back as rejected by name."""
    turn = turn_for(question, recipe.sampling.style)
    try:
        rollouts = await engine.sample(_sample_request(question, turn, recipe))
        checked = await asyncio.to_thread(check_rollouts, question, rollouts)
        pairs = pair_by_correctness(question, turn.text, checked, recipe)
        if pairs:
            return outcome(question, turn.text, checked, pairs)
        reason = why_unpaired(question, checked)
        if reason in ("all_correct", "open_ended") and recipe.pairing.dropout_ntp and engine.can_continue:
            continued, pairs, reason = await pair_by_dropout(question, turn, checked, engine, recipe)
            checked = [*checked, *continued]
        return outcome(question, turn.text, checked, pairs, reason)
    except ItemRejected as reject:
        return rejected(question, turn.text, reject)


def _sample_request(question: Question, turn: Turn, recipe: Recipe) -> SampleRequest:
    # An open-ended question needs no more responses than will be cut; any other needs all that verdicts can split.
    n = recipe.sampling.samples
    return SampleRequest(
        question=question,
        prompt=turn.text,
        prompt_version=turn.version,
        n=min(n, recipe.pairing.dropout_pairs) if question.kind == "none" else n,
        seed=sampling_seed(recipe.seed, question.question_id, 0),
        decoding=recipe.sampling.decoding,
    )
