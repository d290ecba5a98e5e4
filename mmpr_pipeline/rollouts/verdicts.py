"""From rollouts to verdicts: what the checker says of each, and the marks that people set above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmpr_pipeline.checking import CHECKER, check_question
from mmpr_pipeline.core.records import CheckedRollout, Question, Rollout
from mmpr_pipeline.core.verdict import Outcome, Verdict
from mmpr_pipeline.rollouts.prompts import THINK_END, asks_for_thinking

TRUNCATED = Verdict(outcome="unparseable", rule="cut_off", checker=CHECKER)
MISSING_THINK_END = Verdict(outcome="unparseable", rule="no_thinking", checker=CHECKER)
"""Thinking was asked for and never ended: whatever the answer, such a response would be learned from wrongly."""


Marks = Mapping[tuple[str, int], Outcome]
"""Outcomes that people set, by question id and rollout index; they stand above the checker's."""


def check_rollouts(question: Question, rollouts: Sequence[Rollout], marks: Marks) -> list[CheckedRollout]:
    """Each rollout with its verdict; without one where the question has no answer to check against."""
    checked = []
    for rollout in rollouts:
        marked = marks.get((rollout.question_id, rollout.index))
        if question.kind == "none":
            verdict = Verdict(outcome=marked, rule="marked", checker=CHECKER) if marked else None
        else:
            verdict = unusable_verdict(rollout) or check_question(question, rollout.text)
            verdict = replace(verdict, outcome=marked, rule="marked") if marked else verdict
        checked.append(
            CheckedRollout(
                **rollout.__dict__,
                source=question.source,
                source_id=question.source_id,
                outcome=verdict.outcome if verdict else None,
                extracted=verdict.extracted if verdict else None,
                rule=verdict.rule if verdict else None,
                checker=verdict.checker if verdict else None,
            )
        )
    return checked


def unusable_verdict(rollout: Rollout) -> Verdict | None:
    """The verdict on a response that did not end, or whose thinking did not; None for all others."""
    if rollout.finish_reason == "length":
        return TRUNCATED
    return MISSING_THINK_END if asks_for_thinking(rollout.prompt_version) and THINK_END not in rollout.text else None
