"""Choices by letter, text and value."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking import check_prediction, check_response
from mmpr_pipeline.checking.reading.choices import choices_in, gold_letters, mentions, read_choice
from mmpr_pipeline.checking.reading.letters import read_letters

CITIES = ("Paris", "London", "Rome", "Madrid")


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("B", "B"), ("(B)", "B"), ("b)", "B"), ("B.", "B"), ("Option B", "B"), ("选项B", "B"), ("②", "B"), ("Ⓑ",
        "B"), ("(ii)", "B"),
        ("III", "C"), ("A and C", "AC"), ("A, C", "AC"), ("A、C".replace("、", ","), "AC"), ("BD", "BD"),
        ("A C", "AC"), ("\\(B\\)", "B"),
        ("\\text{(B)}", "B"), ("'B'", "B"), ("C and A", "AC"), ("option 2", "B"), ("the second option", "B"),
        ("B, because", "B"),
    ],
)  # fmt: skip
def test_labels(text: str, letters: str) -> None:
    named = read_letters(text, 4)
    assert named is not None
    assert named.letters == letters


@pytest.mark.parametrize(
    "text", ["Bob", "Be", "b12", "3.14", "a.m.", "E", "a cat", "A cat", "I think", "B2", "B'", "BA", "of"]
)
def test_no_labels(text: str) -> None:
    assert read_letters(text, 4) is None


def test_a_letter_that_is_denied_is_said_to_be() -> None:
    denied = read_letters("B is wrong", 4)
    assert denied is not None
    assert denied.denied


@pytest.mark.parametrize("text", ["B flat", "B = 5", "B+", "B minus", "B tests"])
def test_a_letter_with_an_odd_word_after_it_is_no_choice(text: str) -> None:
    assert read_choice(text, CITIES) is None


def test_alternatives_are_hedged() -> None:
    assert read_letters("A or B", 4).hedged  # type: ignore[union-attr]
    assert not read_letters("A and B", 4).hedged  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "choices", "letter"),
    [
        ("london.", CITIES, "B"),
        ("The London", CITIES, "B"),
        ("30°", ("30 degrees", "$40^{\\circ}$"), "A"),
        ("$40^\\circ$", ("30 degrees", "$40^{\\circ}$"), "B"),
        ("45", ("36 cm", "45 cm"), "B"),
        ("45 \\mathrm{~cm}^2", ("$36 \\mathrm{~cm}^{2}$", "$45 \\mathrm{~cm}^{2}$"), "B"),
        ("1,200", ("1200", "120"), "A"),
    ],
)
def test_the_words_or_the_value_of_a_choice(text: str, choices: tuple[str, ...], letter: str) -> None:
    named = read_choice(text, choices)
    assert named is not None
    assert named.letters == letter


def test_other_units_are_other_values() -> None:
    assert read_choice("45 m", ("36 cm", "45 cm")) is None


def test_golds_in_any_form() -> None:
    assert gold_letters("B", CITIES) == ("B",)
    assert gold_letters("(b)", CITIES) == ("B",)
    assert gold_letters("London", CITIES) == ("B",)
    assert gold_letters("B. London", CITIES) == ("B",)
    assert gold_letters("A, C", CITIES) == ("AC",)
    assert gold_letters("18", ("9", "12", "18", "18")) == ("C", "D")
    assert gold_letters("Berlin", CITIES) == ()


def test_a_longer_choice_hides_a_shorter_one() -> None:
    assert mentions("It is a quarter to three.", ("quarter", "quarter to", "half")) == [1]


def test_choices_in_the_question() -> None:
    question = "图中的形状是（ ）\nA．三角形  B．正方形\nC．圆  D．梯形"
    assert choices_in(question) == ("三角形", "正方形", "圆", "梯形")
    assert choices_in("What is A. and so on?") == ()
    assert check_response("这是正方形。\n答案：正方形", gold="B", kind="choice", question=question).outcome == "correct"


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("The answer is not A. The answer is B.", "correct"),
        ("Option A: incorrect. Option B: correct.\n\nAnswer: B", "correct"),
        ("The answer is London, not Paris.", "correct"),
        ("Not London but Paris", "unparseable"),
        ("The answer is Paris, not London", "incorrect"),
        ("Both A and B", "unparseable"),
        ("A) Paris\nB) London\nC) Rome\nD) Madrid", "unparseable"),
        ("It is Berlin.", "unparseable"),
        ("(B) Paris", "unparseable"),
    ],
)
def test_what_is_denied_is_not_chosen(response: str, outcome: str) -> None:
    assert check_response(response, gold="B", kind="choice", choices=CITIES).outcome == outcome


def test_a_formula_for_an_answer_is_compared_with_the_choices() -> None:
    choices = ("$1:2$", "$1:3$", "$\\frac{1}{4}$")
    assert check_response("\\boxed{0.25}", gold="C", kind="choice", choices=choices).outcome == "correct"
    assert (
        check_response("\\boxed{\\frac{1}{7}}", gold="C", kind="choice", choices=choices).rule == "choice_value_of_none"
    )
    assert check_response("\\boxed{7}", gold="C", kind="choice", choices=("A", "B", "C")).outcome == "unparseable"


def test_yes_no_choices() -> None:
    yes_no = ("yes", "no")
    assert check_response("No, the car is larger.", gold="no", kind="choice", choices=yes_no).outcome == "correct"
    assert check_prediction("Yes", gold="B", kind="choice", choices=yes_no).outcome == "incorrect"


@pytest.mark.parametrize(("answer", "never"), [("B", "incorrect"), ("(B)", "incorrect"), ("C", "correct")])
def test_a_gold_letter_is_a_label_even_where_choices_are_small_letters(answer: str, never: str) -> None:
    verdict = check_prediction(answer, gold="B", kind="choice", choices=("c", "D", "b", "a"))
    assert verdict.outcome != never
