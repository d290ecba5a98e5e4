"""`nano_describe`: shapes scattered over a picture, to be described; open-ended, and hallucination is exact here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from mmpr_pipeline.sources.generated.shapes import (
    CELL,
    COLOURS,
    SHAPES,
    SIDE,
    Patch,
    SceneQuestion,
    Thing,
    blank,
    draw_thing,
    thing,
)

PLACES = (
    ("top left", "top", "top right"),
    ("left", "centre", "right"),
    ("bottom left", "bottom", "bottom right"),
)
REQUESTS = ("Describe the picture.", "What does the picture show?", "Which objects are in the picture?")
_NAMED = re.compile(rf"\b({'|'.join(COLOURS)})\s+({'|'.join(SHAPES)})(?:e?s)?\b")


@dataclass(frozen=True)
class Scene:
    """Two to five shapes with their places, in reading order."""

    things: tuple[Thing, ...]
    places: tuple[str, ...]

    @classmethod
    def sample(cls, rng: Random) -> Scene:
        spots = sorted(rng.sample(range(9), rng.randint(2, 5)))
        pitch = SIDE // 3
        things = []
        for spot in spots:
            centre = (pitch * (spot % 3) + pitch // 2 + 1, pitch * (spot // 3) + pitch // 2 + 1)
            things.append(thing(rng, rng.choice(list(COLOURS)), rng.choice(SHAPES), centre, 6))
        return cls(tuple(things), tuple(PLACES[spot // 3][spot % 3] for spot in spots))

    def key(self) -> str:
        return self.caption()

    def names(self) -> frozenset[str]:
        """The kinds of object that are in the picture, e.g. `red circle`."""
        return frozenset(item.name for item in self.things)

    def caption(self) -> str:
        """The objects and where they are, as one sentence."""
        parts = [f"a {item.name} at the {place}" for item, place in zip(self.things, self.places, strict=True)]
        return f"The picture shows {', '.join(parts[:-1])} and {parts[-1]}."

    def draw(self) -> Image.Image:
        picture = blank()
        draw = ImageDraw.Draw(picture)
        for item in self.things:
            draw_thing(draw, item)
        return picture

    def patches(self) -> list[Patch]:
        labels = [Patch()] * 16
        for item in self.things:
            labels[4 * (item.y // CELL) + item.x // CELL] = Patch(item.colour, item.shape)
        return labels

    def ask(self, rng: Random) -> SceneQuestion:
        return SceneQuestion(rng.choice(REQUESTS), "none", None, self.caption())


def named_objects(response: str) -> tuple[str, ...]:
    """The distinct objects (`colour shape`) that a response names, in the order in which they come up."""
    return tuple(dict.fromkeys(f"{colour} {shape}" for colour, shape in _NAMED.findall(response.lower())))


def hallucinated(response: str, scene: Scene) -> tuple[str, ...]:
    """The distinct objects that a response names and that are not in the picture.

    Per object over `named_objects`, or per response (any at all), this is what CHAIR measures on photographs; here the
    world is known, so it is exact.
    """
    present = scene.names()
    return tuple(name for name in named_objects(response) if name not in present)


def missed(response: str, scene: Scene) -> tuple[str, ...]:
    """The objects in the picture that a response does not name, sorted."""
    return tuple(sorted(scene.names().difference(named_objects(response))))
