"""Pictures that are asked about: `nano_chart`, `nano_geometry` and `nano_grid`.

A chart has four coloured bars between 1 and 9 over grid lines: reading, comparing and adding them. A triangle has two
of its angles written in: find the third, compare, or name its type. The sketch is not to scale, as in a school book:
the angles have to be read. A grid has coloured shapes in a table of three rows and columns: look-up, counting, and
whether one is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from mmpr_pipeline.sources.generated.shapes import (
    CELL,
    COLOURS,
    INK,
    SHAPES,
    SIDE,
    Colour,
    Patch,
    SceneQuestion,
    Thing,
    as_choice,
    blank,
    draw_text,
    draw_thing,
    shade,
    thing,
)

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


EMPTY_SHARE = 0.3
NAMES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


@dataclass(frozen=True)
class Grid:
    """Nine cells, row by row; None is an empty one. Row and column numbers stand in the margins."""

    cells: tuple[Thing | None, ...]

    @classmethod
    def sample(cls, rng: Random) -> Grid:
        cells: list[Thing | None] = []
        for place in range(9):
            centre = (CELL * (place % 3 + 1) + CELL // 2, CELL * (place // 3 + 1) + CELL // 2)
            full = rng.random() >= EMPTY_SHARE
            cells.append(thing(rng, rng.choice(list(COLOURS)), rng.choice(SHAPES), centre, 2) if full else None)
        return cls(tuple(cells))

    def key(self) -> str:
        return ",".join(self.names())

    def names(self) -> list[str]:
        """What each cell shows, `empty` where nothing."""
        return [cell.name if cell else "empty" for cell in self.cells]

    def draw(self) -> Image.Image:
        picture = blank()
        draw = ImageDraw.Draw(picture)
        for n in range(1, 4):
            draw_text(draw, str(n), CELL * n + CELL // 2, CELL // 2)
            draw_text(draw, str(n), CELL // 2, CELL * n + CELL // 2)
            draw.line((CELL * n, 4, CELL * n, SIDE - 1), fill=INK)
            draw.line((4, CELL * n, SIDE - 1, CELL * n), fill=INK)
        for cell in self.cells:
            if cell:
                draw_thing(draw, cell)
        return picture

    def patches(self) -> list[Patch]:
        labels = [Patch(), *(Patch(number=n) for n in (1, 2, 3))]
        for row in range(3):
            labels.append(Patch(number=row + 1))
            for cell in self.cells[3 * row : 3 * row + 3]:
                labels.append(Patch(cell.colour, cell.shape) if cell else Patch())
        return labels

    def ask(self, rng: Random) -> SceneQuestion:
        asked = rng.choice(("cell", "count", "count", "present"))
        rows = [f"Row {row + 1}: {', '.join(self.names()[3 * row : 3 * row + 3])}." for row in range(3)]
        if asked == "cell":
            place = rng.choice([n for n in range(9) if self.cells[n]] or [0])
            row, column, name = place // 3, place % 3, self.names()[place]
            question = f"What is in row {row + 1}, column {column + 1}?"
            reasoning = f"{rows[row]} Column {column + 1} is {name}."
            if rng.random() < 0.4:
                return as_choice(rng, question, name, [n for n in [*NAMES, "empty"] if n != name], reasoning)
            return SceneQuestion(question, "text", name, reasoning)
        if asked == "count":
            word = rng.choice(SHAPES if rng.random() < 0.7 else list(COLOURS))
            counted = [cell.name for cell in self.cells if cell and word in (cell.colour, cell.shape)]
            what = {"cross": "crosses"}.get(word, f"{word}s") if word in SHAPES else f"{word} shapes"
            listed = ", ".join(f"{n} {name}" for n, name in enumerate(counted, 1)) or "none"
            reasoning = f"{' '.join(rows)} Found: {listed}."
            return SceneQuestion(f"How many {what} are there?", "number", str(len(counted)), reasoning)
        present = sorted({cell.name for cell in self.cells if cell})
        absent = [name for name in NAMES if name not in present]
        name = rng.choice(present if present and rng.random() < 0.5 else absent)
        reasoning = f"{' '.join(rows)} A {name} {'is' if name in present else 'is not'} listed."
        return SceneQuestion(f"Is there a {name} in the grid?", "yes_no", "Yes" if name in present else "No", reasoning)
