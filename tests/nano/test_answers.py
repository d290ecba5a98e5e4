"""The pipeline's own checker accepts every response that a lesson teaches, and refuses a wrong one."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.nano.lessons import response_of
from mmpr_pipeline.sources.generated.scenes import NANO_SOURCES, scene_and_question
from mmpr_pipeline.sources.generated.shapes import SceneQuestion


def _question(item: SceneQuestion) -> Question:
    return Question(
        question_id="q",
        source="s",
        source_id="0",
        text=item.question,
        choices=item.choices,
        kind=item.kind,
        answer=item.answer,
    )


@pytest.mark.parametrize("style", ["cot-final", "cot-boxed", "direct"])
@pytest.mark.parametrize("source", NANO_SOURCES[:3])
def test_right_responses_are_correct(source: str, style: str) -> None:
    for index in range(60):
        _, item = scene_and_question(source, "heldout", 0, index)
        verdict = check_question(_question(item), response_of(item, style))
        assert verdict.outcome == "correct", (item, verdict)


@pytest.mark.parametrize("source", NANO_SOURCES[:3])
def test_the_answer_of_another_world_is_incorrect(source: str) -> None:
    for index in range(60):
        _, item = scene_and_question(source, "heldout", 0, index)
        wrong = {"A": "B", "Yes": "No", "No": "Yes"}.get(item.answer or "", "A" if item.kind == "choice" else "17")
        if item.kind == "text":
            wrong = "pink hexagon"
        response = f"{item.reasoning}\nFinal answer: {wrong}"
        assert check_question(_question(item), response).outcome == "incorrect", (item, wrong)
