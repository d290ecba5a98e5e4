"""Markdown and mathematics as the pages draw them: what is recognised, what is left alone, and how long it may take."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.report.assets import STATIC

CASES = Path(__file__).parent / "markup_cases.mjs"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no node on this machine")


def drawn(*asked: dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [str(NODE), str(CASES), (STATIC / "markup.js").as_uri()],
        input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def shape(text: str, **more: Any) -> Any:
    return drawn({"text": text, **more})[0]["shape"]


DRAWN: list[tuple[str, Any]] = [
    ("so $x^2$ is", [["p", "so ", ["span.math", "TeX:x^2"], " is"]]),
    ("$ \\frac{1}{2} $ and \\(y\\)", [["p", ["span.math", "TeX:\\frac{1}{2}"], " and ", ["span.math", "TeX:y"]]]),
    ("it is $5 or $6.", [["p", "it is $5 or $6."]]),
    ("from $5 and 6$ up", [["p", "from ", ["span.math", "TeX:5 and 6"], " up"]]),
    ("$\\bad$ stays", [["p", "$\\bad$ stays"]]),
    ("\\[\nx = 1\n\\]\nthen", [["p", ["span.math", "TeX:x = 1"], "\nthen"]]),
    ("**a** and *b* but 2*3*4", [["p", ["strong", "a"], " and ", ["em", "b"], " but 2*3*4"]]),
    ("1. one\n2. two\n- x", [["ol.md-list", ["li.d0", "one"], ["li.d0", "two"]], ["ul.md-list", ["li.d0", "x"]]]),
    ("# Title\n\ntext", [["p.md-heading", "Title"], ["p", "text"]]),
    ("```py\na*b*c\n```\nend", [["pre.md-code", "a*b*c"], ["p", "end"]]),
    ("a | b\n--|--\n1 | 2", [["div.md-scroll", ["table.md-table", ["tr", ["th", "a "], ["th", " b"]],
                                               ["tr", ["td", "1 "], ["td", " 2"]]]]]),
    ("see <image> and <b>", [["p", "see ", ["span.image-ref", "Image 1"], " and <b>"]]),
    ("Final: \\boxed{\\frac{1}{2}}.", [["p", "Final: ", ["span.math", "TeX:\\boxed{\\frac{1}{2}}"], "."]]),
    ("\\boxed{never closed", [["p", "\\boxed{never closed"]]),
]  # fmt: skip


def test_what_is_markup_is_drawn_and_all_else_is_text() -> None:
    found = drawn(*({"text": text} for text, _ in DRAWN))
    for (text, expected), one in zip(DRAWN, found, strict=True):
        assert one["shape"] == expected, text


def test_spans_survive_the_rendering() -> None:
    text = "Let **x be** $7$."
    spans = [{"start": 0, "stop": 6, "name": "shared"}, {"start": 14, "stop": 15, "name": "answer"}]
    strong, answer = ["strong", "x ", ["mark.hit", "be"]], ["mark.answer", ["span.math", "TeX:7"]]
    assert shape(text, spans=spans, find="BE") == [["p", ["span.shared", "Let "], strong, " ", answer, "."]]
    assert shape(text, raw=True) == [text]


HOSTILE = [
    "$" * 30_000, "$a" * 15_000, "**a" * 10_000, "*a " * 13_000, "`" * 30_000, "\\[" * 15_000, "\\boxed{" * 5_000,
    "| a " * 9_000 + "\n" + "|---" * 9_000, "- " * 15_000, "#" * 30_000, "\n" * 39_000, "$$" + "a" * 39_000,
    "\\(" * 19_000, "1. a\n" * 7_000, " " * 39_000 + "x",
]  # fmt: skip


def test_no_text_takes_long() -> None:
    found = drawn(*({"text": text} for text in HOSTILE))
    slow = {text[:12]: one["seconds"] for text, one in zip(HOSTILE, found, strict=True) if one["seconds"] > 2}
    assert slow == {}
