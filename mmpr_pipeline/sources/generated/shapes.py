"""What the generated worlds have in common: their questions, and the drawing of shapes on a 112 x 112 px picture.

Only integer coordinates and PIL's polygon filler are used (no font file, no anti-aliasing), so that a world gives the
same pixels on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from PIL import Image, ImageDraw

from mmpr_pipeline.core.verdict import AnswerKind


@dataclass(frozen=True)
class SceneQuestion:
    """A question about a world with its gold, and the reasoning that leads there (used for training only).

    `answer` is None for open-ended questions, whose whole response is `reasoning`; for a choice it is the letter.
    """

    question: str
    kind: AnswerKind
    answer: str | None
    reasoning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patch:
    """What the square of one visual token shows: colour and shape names, and a number; "" and -1 where nothing."""

    colour: str = ""
    shape: str = ""
    number: int = -1


class GeneratedScene(Protocol):
    """A generated picture and everything known about it."""

    def key(self) -> str:
        """What the picture shows, without jitter: it decides the split, so no scene is in both."""
        ...

    def draw(self) -> Image.Image:
        """The picture, 112 x 112 px RGB; a pure function of the world."""
        ...

    def ask(self, rng: Random) -> SceneQuestion:
        """One of the questions that this world can answer."""
        ...

    def patches(self) -> list[Patch]:
        """What each of the 4 x 4 visual tokens covers, row by row."""
        ...


def as_choice(rng: Random, question: str, right: str, wrong: list[str], reasoning: str) -> SceneQuestion:
    """Turn a question into a multiple choice of four; the reasoning ends by naming the letter."""
    options = [right, *rng.sample(wrong, 3)]
    rng.shuffle(options)
    letter = "ABCD"[options.index(right)]
    return SceneQuestion(question, "choice", letter, f"{reasoning} That is {letter}.", tuple(options))


SIDE = 112  # px: one tile of the nano checkpoint
CELL = 28  # px: the square that one of its 4 x 4 visual tokens covers

COLOURS = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 215),
    "yellow": (235, 195, 30),
    "purple": (140, 60, 175),
    "black": (35, 35, 40),
}
SHAPES = ("circle", "square", "triangle", "cross")
PAPER = (246, 245, 240)
INK = (60, 60, 60)

Colour = tuple[int, int, int]

# 3 x 5 bitmaps, one string of 15 cells, row by row.
_GLYPHS = {
    "0": "111101101101111",
    "1": "010110010010111",
    "2": "111001111100111",
    "3": "111001111001111",
    "4": "101101111001001",
    "5": "111100111001111",
    "6": "111100111101111",
    "7": "111001001001001",
    "8": "111101111101111",
    "9": "111101111001111",
    "?": "111001011000010",
}


@dataclass(frozen=True)
class Thing:
    """One coloured shape: its centre and half-width in px, and the exact colour it is drawn in."""

    colour: str
    shape: str
    x: int
    y: int
    half: int
    rgb: Colour

    @property
    def name(self) -> str:
        """What a text calls it, e.g. `red circle`."""
        return f"{self.colour} {self.shape}"


def blank() -> Image.Image:
    """An empty picture."""
    return Image.new("RGB", (SIDE, SIDE), PAPER)


def shade(rng: Random, colour: str, spread: int = 22) -> Colour:
    """A colour near the named one: each channel moved by at most `spread`."""
    r, g, b = (min(255, max(0, channel + rng.randint(-spread, spread))) for channel in COLOURS[colour])
    return r, g, b


def thing(rng: Random, colour: str, shape: str, centre: tuple[int, int], wander: int) -> Thing:
    """A shape near `centre`, moved by at most `wander` px, of a random size and shade."""
    x, y = centre[0] + rng.randint(-wander, wander), centre[1] + rng.randint(-wander, wander)
    return Thing(colour, shape, x, y, rng.randint(7, 11), shade(rng, colour))


def draw_thing(draw: ImageDraw.ImageDraw, item: Thing) -> None:
    """Draw one shape."""
    x, y, h = item.x, item.y, item.half
    if item.shape == "circle":
        draw.ellipse((x - h, y - h, x + h, y + h), fill=item.rgb)
    elif item.shape == "square":
        draw.rectangle((x - h + 1, y - h + 1, x + h - 1, y + h - 1), fill=item.rgb)
    elif item.shape == "triangle":
        draw.polygon([(x - h, y + h), (x + h, y + h), (x, y - h)], fill=item.rgb)
    else:
        arm = max(2, h // 3)
        draw.rectangle((x - h, y - arm, x + h, y + arm), fill=item.rgb)
        draw.rectangle((x - arm, y - h, x + arm, y + h), fill=item.rgb)


def draw_text(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, dot: int = 3, rgb: Colour = INK) -> None:
    """Write digits (or `?`) centred on (x, y); one bitmap cell is `dot` px, a glyph 3 x 5 cells."""
    width = (4 * len(text) - 1) * dot
    left, top = x - width // 2, y - (5 * dot) // 2
    for n, char in enumerate(text):
        for cell, on in enumerate(_GLYPHS[char]):
            if on == "1":
                cx, cy = left + (4 * n + cell % 3) * dot, top + (cell // 3) * dot
                draw.rectangle((cx, cy, cx + dot - 1, cy + dot - 1), fill=rgb)
