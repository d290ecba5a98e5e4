"""The way of one question: rollouts, verdicts, pairs. Everything else in this room is about doing many of them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, PreferencePair, Question, QuestionOutcome, QuestionRow, Reject
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.pairing.strategy import Recipe, Strategy
from mmpr_pipeline.pipeline.second_opinion import reconsidered
from mmpr_pipeline.rollouts.prompts import NO_PARENT, Prompt, generated_tokens, prompt_for, turn_for_vote
from mmpr_pipeline.rollouts.sampling import check_rollouts, next_round, sampling_seed


async def work_question(
    question: Question, engine: Engine, recipe: Recipe, strategies: Sequence[Strategy]
) -> QuestionOutcome:
    """Sample, check and pair one question. A question that cannot be served comes back as rejected by name.

    Nothing is sampled where no strategy needs rollouts, unless the engine only brings recorded ones.
    """
    try:
        turn = turn_for_vote if question.kind == "none" and "vote" in recipe.pairing.strategies else prompt_for
        prompt = turn(question, recipe.sampling.style, recipe.sampling.prompt_language)
    except ItemRejected as reject:
        return rejected(question, "", reject)
    try:
        # Sampled before the first strategy that needs rollouts. `beside` are rollouts that no pair uses, such as what
        # was asked about claims: they are numbered after all others.
        rollouts = await sample(question, prompt, engine, recipe) if engine.info.recorded else None
        beside: list[CheckedRollout] = []
        pairs: list[PreferencePair] = []
        reason, detail, paired = "", "", False
        for strategy in strategies:
            always = getattr(strategy, "always", False)
            if paired and not always:
                continue
            if strategy.needs_rollouts and rollouts is None:
                rollouts = await sample(question, prompt, engine, recipe)
            made = await strategy.pair(question, prompt, rollouts or [], engine, recipe)
            beside += [rollout for rollout in made.rollouts if rollout.parent == NO_PARENT]
            if more := [rollout for rollout in made.rollouts if rollout.parent != NO_PARENT]:
                rollouts = [*(rollouts or []), *more]
            pairs += made.pairs
            detail = detail or made.detail
            paired = paired or bool(made.pairs and not always)
            reason = reason or made.reason or "" if always else made.reason or reason
            if made.last:
                break
        kept = list(rollouts or [])
        first = 1 + max((rollout.index for rollout in kept), default=-1)
        kept += [rollout.model_copy(update={"index": first + at}) for at, rollout in enumerate(beside)]
        return outcome(question, prompt.text, kept, pairs, None if pairs else reason or "no_strategy_applies", detail)
    except ItemRejected as reject:
        return rejected(question, prompt.text, reject)


async def sample(question: Question, prompt: Prompt, engine: Engine, recipe: Recipe) -> list[CheckedRollout]:
    """Rollouts with verdicts, round after round until they are enough or another round would not pay."""
    rules, max_pairs = recipe.sampling, recipe.pairing.max_pairs
    checked: list[CheckedRollout] = []
    for number in itertools.count():
        if question.kind == "none":  # it needs no more responses than will be cut, compared, or vote
            size = min(rules.samples, recipe.pairing.open_responses) - len(checked)
        elif engine.info.recorded or not rules.adaptive:
            size = rules.samples - len(checked)
        else:
            right, wrong = (
                len({r.text.strip() for r in checked if r.outcome == wanted}) for wanted in ("correct", "incorrect")
            )
            size = next_round(
                right,
                wrong,
                len(checked),
                most=rules.samples,
                round_size=rules.round_size,
                max_pairs=max_pairs,
                price=rules.price,
                round_price=rules.round_price,
            )
        if size <= 0:
            break
        request = SampleRequest(
            question=question,
            prompt=prompt.text,
            prompt_version=prompt.version,
            n=size,
            seed=sampling_seed(recipe.seed, question.question_id, number),
            round=number,
            first_index=len(checked),
            decoding=rules.decoding,
        )
        rollouts = await engine.sample(request)
        new = await asyncio.to_thread(check_rollouts, question, rollouts, recipe.marks)
        if recipe.second is not None:
            new = await reconsidered(question, new, engine, recipe.second, recipe.seed)
        checked += new
        if engine.info.recorded or len(rollouts) < size:
            break
    return checked


# ---- what became of a question, as the records that its shard keeps


def unread(reject: Reject) -> QuestionOutcome:
    """The outcome of a source row that never became a question."""
    row = QuestionRow(
        source=reject.source,
        source_id=reject.source_id,
        question_id=None,
        status="rejected",
        reason=reject.reason,
        detail=reject.detail,
    )
    return QuestionOutcome(row=row)


def rejected(question: Question, prompt: str, reject: ItemRejected) -> QuestionOutcome:
    """The outcome of a question that no engine could serve; its images are not kept."""
    row = QuestionRow(
        **{name: getattr(question, name) for name in _ASKED},
        prompt=prompt,
        status="rejected",
        reason=reject.reason,
        detail=reject.detail[:500],
    )
    return QuestionOutcome(row=row)


def outcome(
    question: Question,
    prompt: str,
    rollouts: Sequence[CheckedRollout],
    pairs: Sequence[PreferencePair],
    reason: str | None = None,
    detail: str = "",
) -> QuestionOutcome:
    """The outcome of a sampled question: paired, or unpaired for a reason."""
    sampled = [r for r in rollouts if r.parent is None]
    seen = Counter(r.outcome for r in sampled)
    row = QuestionRow(
        **{name: getattr(question, name) for name in _ASKED},
        prompt=prompt,
        status="paired" if pairs else "unpaired",
        reason=reason,
        detail=detail[:500],
        images=tuple(image.sha256 for image in question.images),
        pairs=len(pairs),
        rollouts=len(sampled),
        correct=seen["correct"],
        incorrect=seen["incorrect"],
        unparseable=seen["unparseable"],
        rounds=len({r.round for r in sampled}),
        generated_tokens=sum(map(generated_tokens, rollouts)),
    )
    return QuestionOutcome(row=row, images=question.images, rollouts=tuple(rollouts), pairs=tuple(pairs))


_ASKED = (
    "source", "source_id", "question_id", "text", "choices", "kind", "answer", "answers", "unit", "precision",
    "language", "tiles", "instruction",
)  # fmt: skip
"""What a row keeps of its question."""
