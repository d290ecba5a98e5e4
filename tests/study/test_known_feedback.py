"""Claims about generated pictures: what the world behind a picture says of them, and what lessons about them teach."""

from __future__ import annotations

import re
from random import Random

import pytest

from mmpr_pipeline.pairing.feedback import claim_prompt, split_claims
from mmpr_pipeline.sources.generated.describe import Scene
from mmpr_pipeline.study.steps.known_feedback import is_true
from mmpr_pipeline.study.steps.teach import claim_lesson


def scene() -> Scene:
    return Scene.sample(Random("a scene"))


def test_every_claim_of_a_true_caption_is_true_and_stands_alone() -> None:
    shown = scene()
    claims = split_claims(shown.caption())
    assert len(claims) == len(shown.things)
    assert all(is_true(claim, shown) for claim in claims)


@pytest.mark.parametrize("change", ["name", "place", "both swapped"])
def test_a_claim_with_another_thing_or_place_is_false(change: str) -> None:
    shown = scene()
    (one, here), (two, there) = list(zip(shown.things, shown.places, strict=True))[:2]
    assert one.name != two.name
    said = {
        "name": f"a {two.name} at the {here}",
        "place": f"a {one.name} at the {there}",
        "both swapped": f"The picture shows a {two.name} at the {here}.",
    }
    assert not is_true(said[change], shown)


def test_a_claim_without_a_place_is_about_the_whole_picture_and_one_without_an_object_is_about_nothing() -> None:
    shown = scene()
    assert is_true(f"There is a {shown.things[0].name}.", shown)
    absent = next(f"{c} {s}" for c in ("red", "blue", "green") for s in ("circle", "cross")
                  if f"{c} {s}" not in shown.names())  # fmt: skip
    assert not is_true(f"There is a {absent}.", shown)
    assert is_true("It is a pleasant picture.", shown)


def test_lessons_say_what_the_world_says_and_half_of_the_claims_are_true() -> None:
    lessons = [claim_lesson(0, index) for index in range(300)]
    for lesson in lessons:
        found = re.search(r'"(.*)"', lesson.prompt)
        assert found
        assert isinstance(lesson.world, Scene)
        assert lesson.prompt.endswith(claim_prompt(found[1]))
        assert is_true(found[1], lesson.world) == lesson.response.startswith("Yes. ")
    assert 100 < sum(lesson.response.startswith("Yes") for lesson in lessons) < 200
