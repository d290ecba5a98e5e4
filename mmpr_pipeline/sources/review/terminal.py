"""What `mmpr sources add` shows in a terminal: what was guessed, and questions with small pictures."""

from __future__ import annotations

from collections.abc import Sequence

import PIL.Image
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.core.masking import steering_nothing
from mmpr_pipeline.core.records import Image, Question, Reject
from mmpr_pipeline.sources.adding import Draft
from mmpr_pipeline.sources.images.decode import decode
from mmpr_pipeline.sources.rows.choices import LETTERS

WIDTH = 24
"""Columns of a terminal that a picture takes; half as many lines at most."""


def guessed(why: Sequence[tuple[str, str, str]]) -> Table:
    """Fields of a declaration with what was guessed, and the reason."""
    table = Table("field", "guessed", "because", show_edge=False)
    for field, value, reason in why:
        table.add_row(field, Text(steering_nothing(value[:80])), Text(steering_nothing(reason[:100])))
    return table


def items(shown: Sequence[Question | Reject], pictures: bool) -> Table:
    """Rows as questions, or why they are none; with `pictures` drawn in half blocks of colour."""
    table = Table(show_edge=False, show_lines=True)
    table.add_column("row", max_width=24, overflow="fold")
    for name in ("image", "question", "gold"):
        table.add_column(name)
    for item in shown:
        if isinstance(item, Reject):
            why = Text.assemble((f"rejected: {item.reason}", "red"), f" {steering_nothing(item.detail)}")
            table.add_row(Text(steering_nothing(item.source_id)), "", why, "")
        else:
            lines = [item.text[:400], *(f"({LETTERS[i]}) {choice[:100]}" for i, choice in enumerate(item.choices))]
            sizes = [f"{image.format} {image.width} x {image.height}" for image in item.images]
            drawn = [thumbnail(item.images[0])] if pictures and item.images else []
            gold = "open-ended"
            if item.answer is not None:
                more = f"\nor {', '.join(item.answers)[:80]}" if item.answers else ""
                gold = f"{item.answer[:80]}{more}\n[{item.kind}, {item.language}]"
            cells = (steering_nothing(part) for part in (item.source_id[:100], "\n".join(lines), gold))
            own, asked, answer = map(Text, cells)
            table.add_row(own, Group(*drawn, "\n".join(sizes)), asked, answer)
    return table


def tried(name: str, draft: Draft, rows: int = 20) -> Text:
    """A line on one source of many: what its first rows became, and what is doubtful."""
    source = draft.source
    index = source.index(rows)
    read = list(source.read(index, 0, index.rows))
    bad = [item for item in read if isinstance(item, Reject)]
    kind = draft.declaration.kind if isinstance(draft.declaration.kind, str) else "several kinds"
    what = "pairs" if draft.declaration.columns.chosen else "open-ended" if kind == "none" else kind
    line = Text(f"{name}  {len(read) - len(bad)} of {len(read)} rows are questions, {what}")
    if bad:
        line.append(steering_nothing(f"\n  {bad[0].reason}: {bad[0].detail[:100]}"), "yellow")
    for doubt in draft.doubts:
        line.append(steering_nothing(f"\n  {doubt}"), "dim")
    return line


def can_show_pictures(console: Console) -> bool:
    """Whether the terminal has colours enough for a picture."""
    return console.is_terminal and console.color_system in ("256", "truecolor")


def thumbnail(image: Image, width: int = WIDTH) -> Text:
    """An image as text: each sign shows two pixels, one above the other."""
    picture = decode(image)
    height = max(2, min(width, round(width * image.height / image.width)))
    small = picture.resize((width, height + height % 2), PIL.Image.Resampling.BILINEAR)
    text = Text(no_wrap=True)
    for top in range(0, small.height, 2):
        for x in range(small.width):
            upper, lower = (small.getpixel((x, y)) for y in (top, top + 1))
            text.append("▀", f"{_colour(upper)} on {_colour(lower)}")
        text.append("\n")
    return text


def _colour(pixel: object) -> str:
    return f"rgb{pixel}".replace(" ", "")
