"""What a terminal shows of a source: pictures in half blocks where it has colours, words everywhere."""

from __future__ import annotations

import io

import PIL.Image
import pytest
from rich.console import Console

from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources.images.load import encode_png, load_image
from mmpr_pipeline.sources.review.preview import can_show_pictures, items, thumbnail


def two_colours(size: tuple[int, int]) -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", size, (250, 0, 0))
    picture.paste((0, 0, 250), (size[0] // 2, 0, *size))
    return picture


@pytest.mark.parametrize(("size", "lines"), [((200, 100), 6), ((100, 1000), 12), ((1000, 3), 1)])
def test_a_thumbnail_has_two_pixels_a_sign_and_keeps_the_shape(size: tuple[int, int], lines: int) -> None:
    text = thumbnail(load_image(encode_png(two_colours(size))))
    rows = text.plain.splitlines()
    assert len(rows) == lines
    assert {len(row) for row in rows} == {24}
    styles = [str(span.style) for span in text.spans]
    assert styles[0] == "rgb(250,0,0) on rgb(250,0,0)"
    assert styles[23] == "rgb(0,0,250) on rgb(0,0,250)"


def question(text: str = "Which colour?") -> Question:
    image = load_image(encode_png(two_colours((40, 20))))
    told = {"question_id": "0", "source": "s", "source_id": "[red]7[/red]", "text": text}
    return Question(**told, choices=("[b]red", "blue"), images=(image,), kind="choice", answer="A")


def shown(console: Console) -> str:
    console.print(items([question("Is [link=x] it?"), Reject(source="s", source_id="1", reason="no_answer")], True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rows_are_shown_as_they_are_and_rejects_with_their_reason() -> None:
    plain = Console(file=io.StringIO(), width=120)
    assert not can_show_pictures(plain)
    text = shown(plain)
    assert all(part in text for part in ("[red]7[/red]", "Is [link=x] it?", "(A) [b]red", "png 40 x 20", "no_answer"))


def test_a_terminal_with_colours_shows_pictures() -> None:
    colours = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="truecolor", _environ={})
    assert can_show_pictures(colours)
    assert "\x1b[38;2;250;0;0;48;2;250;0;0m\u2580" in shown(colours)
