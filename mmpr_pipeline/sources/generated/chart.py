"""`nano_chart`: four coloured bars between 1 and 9 over grid lines; reading, comparing and adding them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from mmpr_pipeline.sources.generated.item import Patch, SceneQuestion, as_choice
from mmpr_pipeline.sources.generated.shapes import CELL, COLOURS, INK, SIDE, Colour, blank, shade

FLOOR = SIDE - 4  # px: y of the axis
UNIT = 11  # px: height of one unit
FAINT = (205, 205, 200)


@dataclass(frozen=True)
class Bar:
    """One bar: its colour's name, its value, and its sides in px."""

    colour: str
    value: int
    left: int
    right: int
    rgb: Colour


@dataclass(frozen=True)
class Chart:
    """Four bars of different colours and different values, from left to right."""

    bars: tuple[Bar, ...]

    @classmethod
    def sample(cls, rng: Random) -> Chart:
        colours, values = rng.sample(list(COLOURS), 4), rng.sample(range(1, 10), 4)
        bars = []
        for n, (colour, value) in enumerate(zip(colours, values, strict=True)):
            left = CELL * n + rng.randint(4, 8)
            bars.append(Bar(colour, value, left, left + rng.randint(13, 17), shade(rng, colour)))
        return cls(tuple(bars))

    def key(self) -> str:
        return ",".join(f"{bar.colour} {bar.value}" for bar in self.bars)

    def draw(self) -> Image.Image:
        picture = blank()
        draw = ImageDraw.Draw(picture)
        for value in range(1, 10):
            draw.line((0, FLOOR - UNIT * value, SIDE, FLOOR - UNIT * value), fill=INK if value == 5 else FAINT)
        for bar in self.bars:
            draw.rectangle((bar.left, FLOOR - UNIT * bar.value, bar.right, FLOOR), fill=bar.rgb)
        draw.line((0, FLOOR, SIDE, FLOOR), fill=INK, width=2)
        return picture

    def patches(self) -> list[Patch]:
        return [Patch(bar.colour, "bar", bar.value) for _ in range(4) for bar in self.bars]

    def ask(self, rng: Random) -> SceneQuestion:
        asked = rng.choice(("value", "difference", "sum", "extreme", "taller"))
        bars = " ".join(f"{bar.colour} is {bar.value}." for bar in self.bars)
        if asked == "value":
            bar = rng.choice(self.bars)
            question = f"What is the value of the {bar.colour} bar?"
            reasoning = f"{bars} The {bar.colour} bar reaches {bar.value}."
            return SceneQuestion(question, "chart", str(bar.value), reasoning)
        if asked == "extreme":
            word, pick = rng.choice((("tallest", max), ("shortest", min)))
            bar = pick(self.bars, key=lambda bar: bar.value)
            question = f"Which bar is the {word}?"
            reasoning = f"{bars} The {word} is {bar.value}, the {bar.colour} bar."
            if rng.random() < 0.5:
                return as_choice(rng, question, bar.colour, [b.colour for b in self.bars if b is not bar], reasoning)
            return SceneQuestion(question, "text", bar.colour, reasoning)
        one, two = rng.sample(self.bars, 2)
        if asked == "difference":
            low, high = sorted((one, two), key=lambda bar: bar.value)
            gap = high.value - low.value
            question = f"How much taller is the {high.colour} bar than the {low.colour} bar?"
            reasoning = f"{bars} {high.colour} minus {low.colour}: {high.value} - {low.value} = {gap}."
            return SceneQuestion(question, "number", str(gap), reasoning)
        if asked == "sum":
            total = one.value + two.value
            question = f"What is the sum of the {one.colour} and {two.colour} bars?"
            reasoning = f"{bars} {one.colour} plus {two.colour}: {one.value} + {two.value} = {total}."
            return SceneQuestion(question, "number", str(total), reasoning)
        more = one.value > two.value
        question = f"Is the {one.colour} bar taller than the {two.colour} bar?"
        reasoning = f"{bars} {one.value} is {'more' if more else 'less'} than {two.value}."
        return SceneQuestion(question, "yes_no", "Yes" if more else "No", reasoning)
