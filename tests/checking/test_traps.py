"""The traps that other checkers fall into, each one a test: what must not be accepted, and what must."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking import answers_equal, check_prediction, check_response

CHOICES = ("red", "blue", "green", "yellow")


@pytest.mark.parametrize(
    ("kind", "prediction", "gold"),
    [
        ("document", "CocaCola", "Coca Cola"),  # ANLS taken as a distance
        ("math", "2\\sqrt{3}", "\\sqrt{12}"),  # formulas shrunk to one number
        ("number", "$8.85", "8.85"),
        ("number", "1,234", "1234"),
        ("text", "The elephant", "elephant"),
    ],
)
def test_right_answers_are_accepted(kind: str, prediction: str, gold: str) -> None:
    assert check_prediction(prediction, gold=gold, kind=kind).outcome == "correct"


@pytest.mark.parametrize(
    ("kind", "prediction", "gold"),
    [
        ("document", "xyzwq", "coca"),
        ("choice", "3.14", "C"),  # first character before a dot
        ("choice", "a.m.", "A"),
        ("text", "a.m.", "A"),
        ("number", "3.14", "3"),
        ("number", "-5", "5"),  # signs deleted
        ("text", "-5", "5"),
        ("text", "x>5", "x<5"),
        ("math", "x>5", "x<5"),
        ("text", "(2, 3)", "2 3"),
        ("math", "2\\sqrt{3}", "2\\sqrt{5}"),  # one number of a formula
        ("math", "3x+2", "3x+5"),
        ("number", "2008", "2009"),  # relative tolerance on years and integers
        ("chart", "2008", "2009"),
        ("number", "62", "60"),
        ("number", "5 cm", "5 m"),  # units dropped
        ("number", "30%", "0.03"),
        ("number", "$5", "5%"),
        ("text", "not red", "red"),  # negation dropped
        ("text", "C", "C++"),
        ("document", "2/5/85", "8/23/84"),  # ANLS forgives digits
        ("document", "female", "male"),
        ("number", "15", "5"),  # entailment: the gold's digits stand in it
        ("text", "elephant and dog", "elephant"),
        ("chart", "Don't", "Won't"),
    ],
)
def test_wrong_answers_are_never_accepted(kind: str, prediction: str, gold: str) -> None:
    for check in (check_prediction, check_response):
        assert check(prediction, gold=gold, kind=kind).outcome != "correct"


@pytest.mark.parametrize(
    "response", ["guess something like 5 maybe", "maybe 5", "5 or 6", "between 5 and 6", "about 5 or 7"]
)
def test_a_guess_is_no_answer(response: str) -> None:
    assert check_response(response, gold="5", kind="number").outcome == "unparseable"


@pytest.mark.parametrize(
    "response",
    [
        "A)", "**A**", "Option A", "\\text{A}", "答案：A", "**Final Answer**: A", "Final answer: A. It is red, as "
        "seen.",
        "(A) red", "The answer is (A).", "故选：A", "【答案】A", "\\boxed{\\textbf{(A) }red}", "A", "a)", "Ａ",
    "所以选A。",
    ],
)  # fmt: skip
def test_a_letter_in_any_dress(response: str) -> None:
    assert check_response(response, gold="A", kind="choice", choices=CHOICES).outcome == "correct"


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("答案：5", "5"),
        ("**Final Answer**: 5", "5"),
        ("Final answer: 5. I hope this helps!", "5"),
        ("<think>6</think>The answer is 5", "5"),
        ("So \\boxed{\\frac{1}{2}}", "0.5"),
    ],
)
def test_an_announced_number(response: str, gold: str) -> None:
    assert check_response(response, gold=gold, kind="number").outcome == "correct"


@pytest.mark.parametrize(
    "response", ["<think>\\boxed{5}</think> The answer is 7", "<think>The answer is 5", "</think> 7"]
)
def test_thinking_does_not_count(response: str) -> None:
    assert check_response(response, gold="5", kind="number").outcome != "correct"


@pytest.mark.parametrize(
    "response",
    [
        "\\boxed{A} \\boxed{B} \\boxed{C} \\boxed{D}", "A, B, C, D", "Final answer: A or B", "A or B",
        "The answer is A. No, the answer is B.", "Final answer: A\nFinal answer: C", "(A) blue", "A+", "A = 5", "",
        "Apples are round.", "A is incorrect.", "选项A错误",
    ],
)  # fmt: skip
def test_several_answers_or_none_are_no_lucky_match(response: str) -> None:
    for check in (check_response, check_prediction):
        assert check(response, gold="A", kind="choice", choices=CHOICES).outcome != "correct"


@pytest.mark.parametrize("kind", ["choice", "number", "math", "text", "yes_no", "chart", "document"])
@pytest.mark.parametrize("response", ["I can't tell.", "无法确定", "Final answer: cannot be determined", "N/A"])
def test_an_honest_i_cannot_tell_is_incorrect(kind: str, response: str) -> None:
    gold = {"choice": "A", "number": "5", "math": "\\sqrt{2}", "yes_no": "yes", "chart": "5"}.get(kind, "red")
    verdict = check_response(response, gold=gold, kind=kind, choices=CHOICES if kind == "choice" else ())
    assert (verdict.outcome, verdict.rule) == ("incorrect", "abstained")


def test_cannot_tell_is_right_where_it_is_the_gold() -> None:
    choices = ("1", "2", "cannot be determined")
    assert (
        check_response("Final answer: cannot be determined", gold="C", kind="choice", choices=choices).outcome
        == "correct"
    )
    assert check_response("I can't tell.", gold="unanswerable", kind="text").outcome == "correct"


def test_two_letters_match_only_a_gold_of_two() -> None:
    assert check_response("A and C", gold="AC", kind="choice", choices=CHOICES).outcome == "correct"
    assert check_response("A、C", gold="A,C", kind="choice").outcome == "correct"
    assert check_response("A and C", gold="A", kind="choice", choices=CHOICES).outcome == "incorrect"
    assert check_response("A", gold="AC", kind="choice", choices=CHOICES).outcome == "incorrect"


@pytest.mark.parametrize(
    ("a", "b", "kind", "equal"),
    [
        ("5", "5.0", "number", True),
        ("5", "15", "number", False),
        ("A", "(A)", "choice", True),
        ("A", "B", "choice", False),
        ("red", "Red.", "text", True),
        ("red", "dark red", "text", True),  # in doubt: no pair
        ("red", "blue", "text", False),
        ("2\\sqrt{3}", "\\sqrt{12}", "math", True),
        ("Yes", "No", "yes_no", False),
    ],
)
def test_answers_that_might_be_equal_make_no_pair(a: str, b: str, kind: str, equal: bool) -> None:
    assert answers_equal(a, b, kind=kind) is equal
    assert answers_equal(b, a, kind=kind) is equal
