"""The questions of an engine check: drawn here, so that any machine asks the same ones."""

from __future__ import annotations

import hashlib
import io
import random

import PIL.Image
import PIL.ImageDraw

from mmpr_pipeline.core.records import Image, Question, question_id

SOURCE = "engine_check"
SIDE = 448
_COLOURS = ("crimson", "seagreen", "royalblue", "goldenrod")


def make_questions(count: int) -> list[Question]:
    """Questions about pictures of coloured circles, each with its own picture."""
    text = "How many circles are in the picture?"
    return [
        Question(
            question_id=question_id(SOURCE, [str(number)], text, ()),
            source=SOURCE,
            source_id=str(number),
            text=text,
            kind="number",
            answer=str(2 + number % 7),
            images=(_picture(number, 2 + number % 7),),
        )
        for number in range(count)
    ]


def _picture(number: int, circles: int) -> Image:
    draws = random.Random(number)
    picture = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    draw = PIL.ImageDraw.Draw(picture)
    cells = draws.sample(range(9), circles)
    for cell in cells:
        x, y = 75 + 149 * (cell % 3), 75 + 149 * (cell // 3)
        radius = draws.randint(25, 60)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=draws.choice(_COLOURS))
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = file.getvalue()
    return Image(sha256=hashlib.sha256(data).hexdigest(), data=data, format="png", width=SIDE, height=SIDE)
