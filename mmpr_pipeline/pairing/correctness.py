"""Correctness pairs: a rollout with the right answer is chosen over one with a wrong answer (paper, section 3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

from mmpr_pipeline.checking import answers_equal
from mmpr_pipeline.core.records import CheckedRollout, PreferencePair, Question
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, make_pair, seeded_order
from mmpr_pipeline.rollouts.prompts import Prompt

AnswersEqual = Callable[[str, str], bool]


class Correctness:
    """Pairs of right and wrong rollouts of one question."""

    needs_rollouts = True

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`."""
        # Many rollouts give the same few answers: each two of them are compared once.
        equal = cache(partial(answers_equal, kind=question.kind, choices=question.choices, question=question.text))
        pairs = correctness_pairs(
            question, prompt.text, rollouts, max_pairs=recipe.pairing.max_pairs, seed=recipe.seed, answers_equal=equal
        )
        return Pairs(pairs, None if pairs else why_unpaired(question, rollouts))


def why_unpaired(question: Question, rollouts: Sequence[CheckedRollout]) -> str:
    """Name of the reason why rollouts gave no correctness pair."""
    sampled = [r for r in rollouts if r.parent is None]
    seen = Counter(r.outcome for r in sampled)
    if not sampled:
        return "no_rollouts"
    if question.kind == "none":
        return "open_ended"
    if not seen["correct"]:
        return "no_correct" if seen["incorrect"] else "all_unparseable"
    return "answers_equal" if seen["incorrect"] else "all_correct"


def correctness_pairs(
    question: Question,
    prompt: str,
    rollouts: Sequence[CheckedRollout],
    *,
    max_pairs: int,
    seed: int,
    answers_equal: AnswersEqual,
) -> list[PreferencePair]:
    """Up to `max_pairs` pairs of a correct and an incorrect rollout, spread evenly over both.

    Unparseable and cut-off rollouts are in no pair; nor are two rollouts whose answers `answers_equal` takes for the
    same (a verdict that splits equal answers is in doubt). Texts are distinct within each side.
    """
    usable = [r for r in rollouts if r.finish_reason != "length" and r.parent is None]
    chosen = seeded_order((r for r in usable if r.outcome == "correct"), seed, "chosen")
    rejected = seeded_order((r for r in usable if r.outcome == "incorrect"), seed, "rejected")
    pairs: list[PreferencePair] = []
    for good, bad in combinations(chosen, rejected):
        if len(pairs) == max_pairs:
            break
        if good.extracted is None or bad.extracted is None:
            same = good.text.strip() == bad.text.strip()
        else:
            same = answers_equal(good.extracted, bad.extracted)
        if not same:
            pairs.append(make_pair(question, prompt, good, bad, "correctness"))
    return pairs


def combinations(
    chosen: list[CheckedRollout], rejected: list[CheckedRollout]
) -> Iterator[tuple[CheckedRollout, CheckedRollout]]:
    """Every combination; none is used two times more than the least used of its side, as long as others are left."""
    # Every cell of an m x n table once, each row and column before any twice (as far as the sizes allow): walking i and
    # j together repeats after lcm(m, n) steps; shifting j by one at each repeat reaches the rest.
    m, n = len(chosen), len(rejected)
    cells = ((step % m, (step + shift) % n) for shift in range(n) for step in range(max(m, n))) if m else ()
    waiting = list(dict.fromkeys(cells))
    used = [0] * len(chosen), [0] * len(rejected)
    while waiting:
        least = min(used[0]) + 2, min(used[1]) + 2
        even = (at for at, (i, j) in enumerate(waiting) if used[0][i] < least[0] and used[1][j] < least[1])
        i, j = waiting.pop(next(even, 0))
        used[0][i] += 1
        used[1][j] += 1
        yield chosen[i], rejected[j]
