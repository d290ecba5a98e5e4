"""DropNTP pairs: half of a good response, continued without the image, is rejected against the whole (paper, 3.2).

The continuation cannot see the image, so it makes up what is in it: the pair teaches to look. Used for questions
without an answer, where every finished response counts as good, and for those whose rollouts are all correct.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import CheckedRollout, Question, Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, Engine
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, make_pair, seeded_order
from mmpr_pipeline.rollouts.prompts import THINK_END, Prompt, without_images
from mmpr_pipeline.rollouts.sampling import check_rollouts, continuation_seed

SHORTEST_PARENT_CHARS = 16
"""A response shorter than this has no half worth keeping."""

_LOOP_WORDS = 24
_LOOP_SHARE = 0.5


class DropoutNTP:
    """Cuts responses that nothing is rejected against, and continues them without the image."""

    needs_rollouts = True

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`. Applies where no rollout was wrong and at least one can be preferred."""
        outcomes = Counter(rollout.outcome for rollout in rollouts if rollout.parent is None)
        all_correct = outcomes["correct"] and not outcomes["incorrect"]
        if not rollouts or not (question.kind == "none" or all_correct) or not engine.can_continue:
            return Pairs()
        parents = parents_to_cut(question, rollouts, most=recipe.pairing.dropout_pairs, seed=recipe.seed)
        first = max(rollout.index for rollout in rollouts) + 1
        requests = [
            ContinueRequest(
                question=question,
                prompt=without_images(prompt.text),
                prompt_version=prompt.version,
                parent=Rollout(**{name: getattr(parent, name) for name in Rollout.model_fields}),
                ratio=recipe.pairing.dropout_ratio,
                seed=continuation_seed(recipe.seed, question.question_id, parent.index),
                index=first + i,
                decoding=recipe.sampling.decoding,
            )
            for i, parent in enumerate(parents)
        ]
        results = await asyncio.gather(*(_continue(engine, request) for request in requests))
        continued, pairs, dropped = [], [], []
        for parent, result in zip(parents, results, strict=True):
            if isinstance(result, ItemRejected):
                dropped.append(result.reason)
                continue
            continuation = check_rollouts(question, [result], recipe.marks)[0]
            continued.append(continuation)
            if fault := degenerate(parent, continuation):
                dropped.append(fault)
            else:
                pairs.append(make_pair(question, prompt.text, parent, continuation, "dropout_ntp"))
        return Pairs(pairs, None if pairs else min(dropped, default="no_response_to_cut"), continued)


async def _continue(engine: Engine, request: ContinueRequest) -> Rollout | ItemRejected:
    """The continuation, or why this parent has none: one parent's fault does not cost the others."""
    try:
        return await engine.continue_without_image(request)
    except ItemRejected as reject:
        return reject


def parents_to_cut(
    question: Question, rollouts: Sequence[CheckedRollout], *, most: int, seed: int
) -> list[CheckedRollout]:
    """The responses to cut, in seeded order: finished, long enough, and correct where there is an answer."""
    usable = [
        r
        for r in rollouts
        if r.parent is None
        and r.finish_reason != "length"
        and len(r.text.strip()) >= SHORTEST_PARENT_CHARS
        and (r.outcome == "correct" or (question.kind == "none" and r.outcome is None))
        and not is_repetitive(r.text)
    ]
    return seeded_order(usable, seed, "parent")[:most]


def degenerate(parent: CheckedRollout, continuation: CheckedRollout) -> str | None:
    """Why a continuation cannot be rejected against its parent, as a short name; None where it can."""
    made = continuation.text[continuation.prefix_chars :].strip()
    if not made:
        return "empty_continuation"
    if continuation.text.strip() == parent.text.strip():
        return "same_as_chosen"
    if continuation.finish_reason == "length":
        return "unfinished_continuation"
    if continuation.outcome == "correct":
        return "still_correct"
    if THINK_END in parent.text and THINK_END not in continuation.text:
        return "unfinished_thinking"
    if is_repetitive(made):
        return "repetitive_continuation"
    return None


def is_repetitive(text: str) -> bool:
    """Whether the text is stuck in a loop: over half of its word trigrams are ones that occur over three times.

    Text without spaces (Chinese) is taken character by character.
    """
    words = text.split()
    if len(words) < _LOOP_WORDS:
        words = list(text) if len(text) >= 4 * _LOOP_WORDS and len(words) < len(text) / 20 else words
    if len(words) < _LOOP_WORDS:
        return False
    trigrams = Counter(zip(words, words[1:], words[2:], strict=False))
    repeated = sum(n for n in trigrams.values() if n > 3)
    return repeated > _LOOP_SHARE * (len(words) - 2)
