"""`nano_geometry`: a triangle with two of its angles written in; find the third, compare, or name its type.

The sketch is not to scale, as in a school book: the angles have to be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from mmpr_pipeline.sources.generated.item import Patch, SceneQuestion
from mmpr_pipeline.sources.generated.shapes import CELL, Colour, blank, draw_text

CORNERS = ("left", "right", "top")
_LABELS = {"left": (33, 88), "right": (79, 88), "top": (56, 44)}  # px: centres before jitter
_VERTICES = {"left": (4, 104), "right": (108, 104), "top": (56, 6)}


@dataclass(frozen=True)
class Triangle:
    """Angles in degrees at (left, right, top), multiples of 5 that sum to 180; one of them is hidden.

    `vertices` and `labels` are px positions in the same order.
    """

    angles: tuple[int, int, int]
    hidden: str
    vertices: tuple[tuple[int, int], ...]
    labels: tuple[tuple[int, int], ...]
    rgb: Colour

    @classmethod
    def sample(cls, rng: Random) -> Triangle:
        while True:
            one, two = 5 * rng.randint(4, 18), 5 * rng.randint(4, 18)
            if 20 <= 180 - one - two <= 90 or (rng.random() < 0.5 and 20 <= 180 - one - two <= 120):
                break
        hidden = rng.choice(CORNERS)
        known = iter((one, two))
        left, right, top = (180 - one - two if corner == hidden else next(known) for corner in CORNERS)
        vertices = tuple(_moved(rng, _VERTICES[corner], 4) for corner in CORNERS)
        labels = tuple(_moved(rng, _LABELS[corner], 2) for corner in CORNERS)
        return cls((left, right, top), hidden, vertices, labels, (rng.randint(0, 90), rng.randint(0, 90), 90))

    def key(self) -> str:
        return f"{self.angles} {self.hidden}"

    def draw(self) -> Image.Image:
        picture = blank()
        draw = ImageDraw.Draw(picture)
        draw.polygon(list(self.vertices), outline=self.rgb, width=2)
        for corner, angle, (x, y) in zip(CORNERS, self.angles, self.labels, strict=True):
            draw_text(draw, "?" if corner == self.hidden else str(angle), x, y)
        return picture

    def patches(self) -> list[Patch]:
        labels = [Patch()] * 16
        for corner, angle, (x, y) in zip(CORNERS, self.angles, self.labels, strict=True):
            number = -1 if corner == self.hidden else angle
            for column in {(x - 10) // CELL, (x + 10) // CELL}:
                labels[4 * (y // CELL) + column] = Patch(shape="label", number=number)
        return labels

    def ask(self, rng: Random) -> SceneQuestion:
        asked = rng.choice(("marked", "marked", "corner", "written", "type", "larger"))
        known = [(c, a) for c, a in zip(CORNERS, self.angles, strict=True) if c != self.hidden]
        (c1, a1), (c2, a2) = known
        third = 180 - a1 - a2
        written = f"At the {c1} it is {a1}, at the {c2} it is {a2}."
        chain = f"{written} {a1} + {a2} = {a1 + a2}. 180 - {a1 + a2} = {third}."
        if asked == "marked":
            return SceneQuestion("How many degrees is the angle marked ?", "number", str(third), chain)
        if asked == "corner":
            question = f"Find the angle at the {self.hidden} of the triangle, in degrees."
            return SceneQuestion(question, "math", str(third), chain)
        if asked == "written":
            corner, angle = rng.choice(known)
            return SceneQuestion(f"What number is written at the {corner}?", "number", str(angle), written)
        if asked == "type":
            largest = max(self.angles)
            name = "acute" if largest < 90 else "right" if largest == 90 else "obtuse"
            options = ("acute", "right", "obtuse")
            letter = "ABC"[options.index(name)]
            chain = f"{chain} The largest is {largest}, so it is {name}. That is {letter}."
            return SceneQuestion("Which type of triangle is it?", "choice", letter, chain, options)
        bound = 5 * rng.randint(8, 16)
        more = third > bound
        chain = f"{chain} {third} is {'more' if more else 'not more'} than {bound}."
        question = f"Is the angle marked ? larger than {bound} degrees?"
        return SceneQuestion(question, "yes_no", "Yes" if more else "No", chain)


def _moved(rng: Random, point: tuple[int, int], wander: int) -> tuple[int, int]:
    return point[0] + rng.randint(-wander, wander), point[1] + rng.randint(-wander, wander)
