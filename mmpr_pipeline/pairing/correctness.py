"""Correctness pairs: a rollout with the right answer is chosen over one with a wrong answer (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mmpr_pipeline.pairing.pairs import make_pair, seeded_order
from mmpr_pipeline.records import CheckedRollout, PreferencePair, Question

AnswersEqual = Callable[[str, str], bool]


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
    chosen = seeded_order((r for r in rollouts if _usable(r, "correct")), seed, "chosen")
    rejected = seeded_order((r for r in rollouts if _usable(r, "incorrect")), seed, "rejected")
    pairs: list[PreferencePair] = []
    for good, bad in _diagonals(chosen, rejected):
        if len(pairs) == max_pairs:
            break
        if not _same_answer(good, bad, answers_equal):
            pairs.append(make_pair(question, prompt, good, bad, "correctness"))
    return pairs


def _usable(rollout: CheckedRollout, outcome: str) -> bool:
    return rollout.outcome == outcome and rollout.finish_reason != "length" and rollout.parent is None


def _diagonals(
    chosen: list[CheckedRollout], rejected: list[CheckedRollout]
) -> Iterator[tuple[CheckedRollout, CheckedRollout]]:
    """Every combination, each side used once before any is used twice (as far as the sizes allow).

    Walking i and j together repeats after lcm(m, n) steps; shifting j by one at each repeat reaches the rest.
    """
    m, n = len(chosen), len(rejected)
    if not m or not n:
        return
    seen: set[tuple[int, int]] = set()
    for shift in range(n):
        for step in range(max(m, n)):
            cell = (step % m, (step + shift) % n)
            if cell not in seen:
                seen.add(cell)
                yield chosen[cell[0]], rejected[cell[1]]


def _same_answer(good: CheckedRollout, bad: CheckedRollout, answers_equal: AnswersEqual) -> bool:
    if good.extracted is None or bad.extracted is None:
        return good.text.strip() == bad.text.strip()
    return answers_equal(good.extracted, bad.extracted)
