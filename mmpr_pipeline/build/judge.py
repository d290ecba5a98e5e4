"""The steps between rollouts and pairs that need no engine: verdicts, correctness pairs, why there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from mmpr_pipeline.checking import CHECKER, answers_equal, check_question
from mmpr_pipeline.config import PairingSettings, SamplingSettings
from mmpr_pipeline.pairing.correctness import correctness_pairs
from mmpr_pipeline.pairing.pairs import make_pair
from mmpr_pipeline.records import CheckedRollout, Outcome, PreferencePair, Question, Rollout, Verdict
from mmpr_pipeline.sampling.prompts import THINK_END, asks_for_thinking

CUT_OFF = Verdict(outcome="unparseable", rule="cut_off", checker=CHECKER)
NO_THINKING = Verdict(outcome="unparseable", rule="no_thinking", checker=CHECKER)
"""Thinking was asked for and never ended: whatever the answer, such a response would be learned from wrongly."""


@dataclass(frozen=True)
class Recipe:
    """What decides how a question is worked on; the same for every question of a build."""

    sampling: SamplingSettings
    pairing: PairingSettings
    seed: int
    marks: Mapping[tuple[str, int], Outcome] = field(default_factory=dict)
    """Outcomes set by hand, by question id and rollout index; they stand above the checker's."""
    given: bool = False
    """Whether the sources bring the pairs: the first response is preferred to the second, whatever the checker says."""


def check_rollouts(question: Question, rollouts: Sequence[Rollout], recipe: Recipe) -> list[CheckedRollout]:
    """Each rollout with its verdict; without one where the question has no answer to check against."""
    return [_with_verdict(question, rollout, _verdict(question, rollout, recipe)) for rollout in rollouts]


def _verdict(question: Question, rollout: Rollout, recipe: Recipe) -> Verdict | None:
    marked = recipe.marks.get((rollout.question_id, rollout.index))
    if question.kind == "none":
        return Verdict(outcome=marked, rule="marked", checker=CHECKER) if marked else None
    verdict = unfit(rollout) or check_question(question, rollout.text)
    return verdict.model_copy(update={"outcome": marked, "rule": "marked"}) if marked else verdict


def unfit(rollout: Rollout) -> Verdict | None:
    """The verdict on a response that did not end, or whose thinking did not; None for all others."""
    if rollout.finish_reason == "length":
        return CUT_OFF
    return NO_THINKING if asks_for_thinking(rollout.prompt_version) and THINK_END not in rollout.text else None


def _with_verdict(question: Question, rollout: Rollout, verdict: Verdict | None) -> CheckedRollout:
    return CheckedRollout(
        **rollout.__dict__,
        source=question.source,
        source_id=question.source_id,
        outcome=verdict.outcome if verdict else None,
        extracted=verdict.extracted if verdict else None,
        rule=verdict.rule if verdict else None,
        checker=verdict.checker if verdict else None,
    )


def pair_by_correctness(
    question: Question, prompt: str, checked: Sequence[CheckedRollout], recipe: Recipe
) -> list[PreferencePair]:
    """The question's correctness pairs, by the rules of the recipe."""
    # Many rollouts give the same few answers: each two of them are compared once.
    equal = cache(partial(answers_equal, kind=question.kind, choices=question.choices, question=question.text))
    return correctness_pairs(
        question, prompt, checked, max_pairs=recipe.pairing.max_pairs, seed=recipe.seed, answers_equal=equal
    )


def pair_as_given(
    question: Question, prompt: str, checked: Sequence[CheckedRollout]
) -> tuple[list[PreferencePair], str | None]:
    """The pair that the source brings, or the reason why it is none."""
    if len(checked) < 2:
        return [], "no_given_pair"
    chosen, rejected = checked[:2]
    if chosen.text.strip() == rejected.text.strip():
        return [], "same_responses"
    return [make_pair(question, prompt, chosen, rejected, "given")], None


def why_unpaired(question: Question, checked: Sequence[CheckedRollout]) -> str:
    """Name of the reason why rollouts gave no correctness pair."""
    seen = Counter(r.outcome for r in checked)
    if not checked:
        return "no_rollouts"
    if question.kind == "none":
        return "open_ended"
    if not seen["correct"]:
        return "no_correct" if seen["incorrect"] else "all_unparseable"
    return "answers_equal" if seen["incorrect"] else "all_correct"
