"""Hallucination is exact in the generated world."""

from __future__ import annotations

import pytest

from mmpr_pipeline.sources.generated.describe import Scene, hallucinated, missed, named_objects
from mmpr_pipeline.sources.generated.scenes import scene_and_question
from mmpr_pipeline.sources.generated.shapes import Thing


def _scene(*names: str) -> Scene:
    pairs = [name.split() for name in names]
    return Scene(
        tuple(Thing(colour, shape, 20, 20, 8, (0, 0, 0)) for colour, shape in pairs),
        ("left", "right", "top")[: len(pairs)],
    )


SCENE = _scene("red circle", "blue cross")


@pytest.mark.parametrize(
    ("response", "false"),
    [
        ("The picture shows a red circle at the left and a blue cross at the right.", ()),
        ("The picture shows a red cross at the left and a blue cross at the right.", ("red cross",)),
        ("Two red circles and blue crosses. A Green  Square!", ("green square",)),
        ("a red circle, a black circle, a black circle", ("black circle",)),
        ("nothing at all", ()),
        ("red, circle; credcircle; a blue crossing", ()),
    ],
)
def test_objects_not_in_the_picture_are_found(response: str, false: tuple[str, ...]) -> None:
    assert hallucinated(response, SCENE) == false


def test_missed_objects() -> None:
    assert missed("a red circle", SCENE) == ("blue cross",)
    assert missed("A red circle and a blue cross.", SCENE) == ()


def test_captions_name_exactly_what_is_there() -> None:
    for index in range(50):
        world, item = scene_and_question("nano_describe", "train", 0, index)
        assert isinstance(world, Scene)
        assert item.answer is None
        assert set(named_objects(item.reasoning)) == world.names()
        assert not hallucinated(item.reasoning, world)
        assert not missed(item.reasoning, world)


def test_a_caption_of_another_scene_is_hallucinated() -> None:
    scenes = [scene_and_question("nano_describe", "train", 0, index)[0] for index in range(20)]
    pairs = [(a, b) for a in scenes for b in scenes if isinstance(a, Scene) and isinstance(b, Scene) and a is not b]
    assert sum(bool(hallucinated(a.caption(), b)) for a, b in pairs) > 0.9 * len(pairs)
