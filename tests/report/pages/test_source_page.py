"""The page of `mmpr sources check`: whole, escaped, and the same file opened without a network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Image, Question, Reject, question_id
from mmpr_pipeline.report.pages.source_page import SHOWN, render_source, source_page
from mmpr_pipeline.sources import Source
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.images.load import load_image
from mmpr_pipeline.sources.review.checks import inspect_rows
from mmpr_pipeline.sources.review.findings import Checked
from tests.report.conftest import ATTACK
from tests.sources.made import png_bytes


def image(number: int) -> Image:
    return load_image(png_bytes(number, (60, 40)))


def checked(count: int = 200, attack: str = "") -> Checked:
    declaration = SourceDeclaration.model_validate(
        {
            "name": "made",
            "description": f"Made. {attack}",
            "homepage": "javascript:1",
            "licence": f"MIT {attack}",
            "files": "x.jsonl",
            "kind": "choice",
            "answer_form": "letter",
            "columns": {"question": "q", "image": "i", "answer": "a"},
        }
    )
    result = Checked(Source(declaration, Path(".")), count)
    for row in range(count):
        if row % 50 == 7:
            reject = Reject(source="made", source_id=f"r{row}{attack}", reason="broken_image", detail=f"seen {attack}")
            result.items.append((row, reject))
            continue
        text = f"<image>\nWhich is {row}? {attack}"
        question = Question(
            question_id=question_id("made", [str(row)], text),
            source="made",
            source_id=f"r{row}{attack}",
            text=text,
            choices=(f"red {attack}", "blue"),
            images=(image(row),),
            kind="choice",
            answer="AB"[row % 2],
        )
        result.items.append((row, question))
    inspect_rows(result)
    return result


def test_the_page_shows_questions_golds_and_what_is_wrong(tmp_path: Path) -> None:
    target = source_page(checked(), tmp_path / "page.html")
    html = target.read_text("utf-8")
    assert len(re.findall(r'<article class="card pair one"', html)) == SHOWN
    right = re.findall(r'<li class="right"><b>([AB])</b> <span data-markup="flat">(red|blue)', html)
    assert len(right) == SHOWN
    assert set(right) == {("A", "red"), ("B", "blue")}
    assert '<a href="#row-57">row 57</a> seen' in html
    assert "196" in html
    assert "javascript:" not in html
    assert "<image>" not in html.partition("<script>")[0]
    anchors = set(re.findall(r'href="#([^"]+)"', html))
    assert anchors <= set(re.findall(r'id="([^"]+)"', html))
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_questions_with_something_wrong_come_first() -> None:
    result = checked()
    odd = [(row, item) for row, item in result.items if row != 150]
    bad = result.items[150][1]
    assert isinstance(bad, Question)
    thin = bad.model_copy(update={"images": (load_image(png_bytes(1, (400, 4))),)})
    wrong = replace(result, items=[*odd, (150, thin)], findings=[])
    inspect_rows(wrong)
    html = render_source(wrong)
    assert re.findall(r'<article class="card pair one" id="row-(\d+)"', html)[0] == "150"


def test_nothing_of_a_source_becomes_markup() -> None:
    html = render_source(checked(20, ATTACK))
    assert "<script>window" not in html
    assert "<img src=x" not in html
    assert html.count("<script>") == html.count("</script>") == 1
    assert "script-src 'sha256-" in html


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot write"):
        source_page(checked(3), tmp_path / "none" / "page.html")
