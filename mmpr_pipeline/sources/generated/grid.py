"""`nano_grid`: coloured shapes in a table of three rows and columns; look-up, counting, and whether one is there."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from mmpr_pipeline.sources.generated.item import Patch, SceneQuestion, as_choice
from mmpr_pipeline.sources.generated.shapes import (
    CELL,
    COLOURS,
    INK,
    SHAPES,
    SIDE,
    Thing,
    blank,
    draw_text,
    draw_thing,
    thing,
)

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
