"""Hallucination is counted exactly, because the picture's world is known."""

from __future__ import annotations

import pytest

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources.generated.describe import Scene
from mmpr_pipeline.sources.generated.scenes import row, scene_of
from mmpr_pipeline.study.steps.describe import score_descriptions


def question(split: str = "heldout") -> tuple[Question, Scene]:
    made = row("nano_describe", split, 5, 3)
    world = scene_of(made["id"])
    assert isinstance(world, Scene)
    asked = Question(
        question_id="q", source="nano_describe", source_id=made["id"], text="What does it show?", kind="none"
    )
    return asked, world


def absent(scene: Scene) -> str:
    return next(f"{c} {s}" for c in ("red", "blue") for s in ("circle", "cross") if f"{c} {s}" not in scene.names())


@pytest.mark.parametrize("split", ["heldout", "validation"])
def test_what_is_not_there_counts_and_what_is_there_does_not(split: str) -> None:
    asked, scene = question(split)
    true, false = scene.caption(), f"The picture shows a {absent(scene)}."
    found = score_descriptions(asked, [true, false])
    assert (found.false, found.clean, found.responses) == (1, 1, 2)
    assert found.named == len(scene.names()) + 1
    assert (found.present, found.missed) == (2 * len(scene.names()), len(scene.names()))
    assert found.rate == pytest.approx(1 / found.named)
    assert score_descriptions(asked, [true]).rate == 0.0


def test_saying_nothing_is_no_hallucination_but_misses_everything() -> None:
    asked, scene = question()
    found = score_descriptions(asked, [""])
    assert (found.rate, found.clean, found.missed) == (0.0, 1, len(scene.names()))


def test_a_question_of_another_world_is_an_error() -> None:
    asked, _ = question()
    with pytest.raises(SourceError):
        score_descriptions(asked.model_copy(update={"source_id": "mine-1"}), [""])
