"""Borders of choices and their letters: one more or less, one blank or sign, and another reading would be taken."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.rows.choices import choice_letters, equal_choices, parse_choices
from mmpr_pipeline.sources.rows.columns import MAX_LITERAL, literal

NUMBERS = [str(number) for number in range(27)]


@pytest.mark.parametrize(
    ("value", "choices"),
    [
        (None, ()),
        ([], ()),
        ("  ", ()),
        ({"label": ["A", "B"], "text": ["red", "blue"]}, ("red", "blue")),
        ({"B": "blue", "A": "red", "C": None}, ("red", "blue")),
        ({"names": ["red", "blue"]}, ()),
        ([{"text": "red"}, {"only": "blue"}], ("red", "blue")),
        ([["A", "red"], ["(B)", "blue"]], ("red", "blue")),
        (("a. red", "b) blue"), ("red", "blue")),
        (NUMBERS[:2], ("0", "1")),
        (NUMBERS[:26], tuple(NUMBERS[:26])),
        ("A. red B. blue", ("red", "blue")),
        ("(a) red; (b) blue;", ("red", "blue")),
        ("red\n\n blue", ("red", "blue")),
        ('{"A": "red", "B": "blue"}', ("red", "blue")),
        (["Ａ．红", "Ｂ．蓝"], ("红", "蓝")),
        (["A.\u200b red", "B.\u200b blue"], ("\u200b red", "\u200b blue")),
        ({str(number): f"c{number}" for number in range(12)}, tuple(f"c{number}" for number in range(12))),
    ],
)
def test_choices_are_read_however_they_are_nested(value: Any, choices: tuple[str, ...]) -> None:
    assert parse_choices(value) == choices


@pytest.mark.parametrize(
    "value",
    [
        NUMBERS,
        ["A. red"],
        ["red", ""],
        ["red", None],
        {"A": None, "B": "blue", "C": "green"},
        {"A": "red", "B": "", "C": "green"},
        [["A", "red"], ["AB", "blue"]],
        [["A", "red", "x"], ["B", "blue", "y"]],
        [{"one": 1, "two": 2}, {"one": 3, "two": 4}],
        7,
        "red",
        "See A. red",
        "['red', 'blue'" + " " * MAX_LITERAL + "]",
    ],
)
def test_what_is_no_list_of_choices_is_rejected_by_name(value: Any) -> None:
    with pytest.raises(ItemRejected) as caught:
        parse_choices(value)
    assert caught.value.reason == "bad_choices"


def test_how_many_choices_were_empty_is_said() -> None:
    with pytest.raises(ItemRejected, match="3 choices, 2 of them empty"):
        parse_choices(["", "red", " "])


def test_a_python_list_may_be_as_long_as_the_limit() -> None:
    text = "['red']"
    assert literal(text + " " * (MAX_LITERAL - len(text))) == ["red"]
    with pytest.raises(ItemRejected):
        literal(text + " " * (MAX_LITERAL - len(text) + 1))
    assert literal('["red"]' + " " * MAX_LITERAL) == ["red"], "JSON is read at any length"


@pytest.mark.parametrize(
    ("gold", "form", "count", "letters"),
    [
        ("0", "index", 2, ["A"]),
        ("1", "index", 2, ["B"]),
        ("1.0", "index", 2, ["B"]),
        ("25", "index", 0, ["Z"]),
        ("1", "index1", 2, ["A"]),
        ("2", "index1", 2, ["B"]),
        ("26", "index1", 0, ["Z"]),
        ("0, 2", "index", 3, ["AC"]),
        ("2,1", "index1", 3, ["AB"]),
        ("b", "letter", 2, ["B"]),
        ("(B).", "letter", 2, None),
        ("(B)", "letter", 2, ["B"]),
        ("AB", "letter", 2, ["AB"]),
        ("C, A", "letter", 3, ["AC"]),
        ("A and C", "letter", 3, ["AC"]),
        ("A,A", "letter", 3, None),
        ("ABC", "letter", 2, None),
        ("BA", "letter", 2, None),
        ("B. 1", "letter", 2, ["B"]),
        ("B. 2", "letter", 3, None),
        ("C. 2", "letter", 2, None),
        ("C", "letter", 2, None),
        ('["A", "C"]', "letter", 3, ["AC"]),
        ('["0", "2"]', "text", 3, ["AC"]),
        ('["0", ""]', "text", 3, None),
        (" 1 ", "text", 2, ["B"]),
        ("2", "text", 2, None),
        ("-1", "index", 2, None),
        ("2", "index", 2, None),
        ("26", "index", 0, None),
        ("0", "index1", 2, None),
        ("3", "index1", 2, None),
        ("0.5", "index", 2, None),
        ("nan", "index", 2, None),
        ("inf", "index", 2, None),
        ("one", "index", 2, None),
        ("anything", "text", 0, ["anything"]),
    ],
)
def test_a_gold_names_its_choices_or_is_rejected(gold: str, form: str, count: int, letters: list[str] | None) -> None:
    choices = tuple(NUMBERS[:count])
    if letters is not None:
        assert choice_letters(gold, form, choices) == letters
        return
    with pytest.raises(ItemRejected) as caught:
        choice_letters(gold, form, choices)
    assert caught.value.reason == "answer_not_a_choice"


def test_choices_of_the_same_text_are_equal_and_none_beyond_the_last() -> None:
    assert equal_choices("A", ("2", "3", " 2 ")) == ["A", "C"]
    assert equal_choices("C", ("2", "3", " 2 ")) == ["C", "A"]
    assert equal_choices("C", ("2", "2")) == ["C"]
    assert choice_letters("Red  apple", "text", ("red apple", "blue", "RED APPLE")) == ["A", "C"]


def test_a_text_that_is_nearly_python_puts_no_warning_on_the_terminal() -> None:
    code = """
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.rows.columns import literal
try:
    literal("[1if 1else 2]")
except ItemRejected as error:
    print(error.reason)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("bad_choices\n", "")


@pytest.mark.parametrize(("gold", "letters"), [("Ｂ", ["B"]), ("（Ｂ）", ["B"]), ("Ｂ．blue", ["B"]), ("ＡＣ", ["AC"])])
def test_a_gold_in_full_width_letters(gold: str, letters: list[str]) -> None:
    assert choice_letters(gold, "letter", ("red", "blue", "green")) == letters
