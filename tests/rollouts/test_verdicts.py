"""What decides on a rollout: a person before the checker, and how it ended before both of the checker's words."""

from __future__ import annotations

from typing import Any

import pytest

from mmpr_pipeline.core.records import FinishReason
from mmpr_pipeline.core.verdict import Outcome
from mmpr_pipeline.rollouts.sampling import check_rollouts
from tests.records import a_question, a_rollout


def decided(text: str, marks: dict[int, Outcome], **fields: Any) -> tuple[str | None, str | None]:
    """Outcome and rule of a response."""
    question = a_question(**fields)
    rollout = a_rollout(question, 0, text)
    [checked] = check_rollouts(question, [rollout], {(question.question_id, at): mark for at, mark in marks.items()})
    return checked.outcome, checked.rule


def test_an_open_response_has_a_verdict_only_where_a_person_gave_it() -> None:
    assert decided("A cat.", {}, kind="none", answer=None) == (None, None)
    assert decided("A cat.", {1: "correct"}, kind="none", answer=None) == (None, None)
    assert decided("A cat.", {0: "correct"}, kind="none", answer=None) == ("correct", "marked")
    assert decided("A cat.", {0: "incorrect"}, kind="none", answer=None) == ("incorrect", "marked")


def test_a_person_stands_above_the_checker() -> None:
    right = "Final answer: 3"
    assert decided(right, {}, answer="3")[0] == "correct"
    assert decided(right, {0: "incorrect"}, answer="3") == ("incorrect", "marked")


@pytest.mark.parametrize(("finish", "outcome"), [("stop", "correct"), ("length", "unparseable")])
def test_a_response_that_was_cut_off_has_no_answer(finish: FinishReason, outcome: str) -> None:
    question = a_question(answer="3")
    rollout = a_rollout(question, 0, "Final answer: 3", finish_reason=finish)
    [checked] = check_rollouts(question, [rollout], {})
    assert checked.outcome == outcome
