"""Short texts, dates, yes and no."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking import check_response
from mmpr_pipeline.checking.matching.text import match_text
from mmpr_pipeline.checking.reading.letters import gold_yes_no, read_yes_no
from mmpr_pipeline.checking.reading.normalise import opposite, singular, tokens
from mmpr_pipeline.checking.reading.times import read_date


@pytest.mark.parametrize(
    ("gold", "said", "question"),
    [
        ("elephant", "The animal in the image is an elephant.", "What animal is in the image?"),
        ("elephant", "It's an elephant", ""),
        ("elephant", "elephants", ""),
        ("two", "2", ""),
        ("café", "Cafe", ""),
        ("São Paulo", "sao paulo", ""),
        ("t-shirt", "T shirt", ""),
        ("surfboard", "surf board", ""),
        ("3:30 p.m.", "3:30 PM", ""),
        ("U.S.A.", "USA", ""),
        ("December 19, 1979", "19 Dec 1979", ""),
        ("$5", "$5.00", ""),
        ("10%", "10 %", ""),
        ("left", "to the left", "Which side is the dog on?"),
        ("Increase", "It will increase.", ""),
        ("北京", "答案是北京。", ""),
        ("new york city", "<answer>New York City!</answer>", ""),
    ],
)
def test_harmless_differences(gold: str, said: str, question: str) -> None:
    assert check_response(said, gold=gold, kind="text", question=question).outcome == "correct"


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("elephant", "not an elephant"), ("elephant", "an elephant or a dog"), ("elephant", "dog, not elephant"),
        ("red", "dark red"),
        ("C++", "C"), ("x>5", "x<5"), ("-5", "5"), ("1:2", "1 2"), ("(2, 3)", "2 3"), ("[2, 3]", "(2, 3)"),
        ("10%", "10"), ("A-", "A"),
        ("December 19, 1979", "December 18, 1979"), ("left", "right"), ("new york city", "new york"),
        ("1.0.0", "1.00"), ("23", "2 3"),
    ],
)  # fmt: skip
def test_meaning_is_never_deleted(gold: str, said: str) -> None:
    assert check_response(said, gold=gold, kind="text").outcome != "correct"
    assert match_text(said, [gold]).outcome != "correct"


def test_any_of_several_golds() -> None:
    assert match_text("blue", ["navy", "blue", "dark blue"]).outcome == "correct"
    assert match_text("green", ["navy", "blue"]).outcome == "incorrect"


def test_what_only_contains_or_resembles_the_gold_is_in_doubt() -> None:
    assert match_text("a toy elephant", ["elephant"]).outcome == "unparseable"
    assert match_text("university of oxford press", ["oxford university press"]).outcome == "unparseable"


def test_a_reversed_statement_is_not_the_gold() -> None:
    question = "What is to the left of the dog?"
    assert match_text("The cat is to the left of the dog", ["cat"], question).outcome == "correct"
    assert match_text("The dog is to the left of the cat", ["cat"], question).outcome != "correct"


def test_opposites() -> None:
    assert opposite("it will increase", "it will decrease")
    assert opposite("a red car", "not a red car")
    assert not opposite("a red car", "a blue car")


def test_tokens_keep_signs_and_drop_articles() -> None:
    assert tokens("The x > -5%") == ("x", ">", "-5%")
    assert tokens("a") == ("a",)


@pytest.mark.parametrize(
    ("a", "b"),
    [("boxes", "box"), ("cities", "city"), ("glass", "glass"), ("buses", "buse"), ("women", "woman"), ("gas", "gas")],
)
def test_singular(a: str, b: str) -> None:
    assert singular(a) == b


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("December 19, 1979", (1979, 12, 19)), ("19th of Dec. 1979", (1979, 12, 19)),
        ("1979-12-19", (1979, 12, 19)), ("1979年12月19日", (1979, 12, 19)),
        ("May 2020", (2020, 5, 0)), ("March 3", (0, 3, 3)), ("8/9/84", None), ("1979-13-01", None), ("19", None),
    ],
)  # fmt: skip
def test_dates(text: str, date: tuple[int, int, int] | None) -> None:
    assert read_date(text) == date


@pytest.mark.parametrize(
    "text",
    [
        "Yes",
        "yes, it is",
        "True.",
        "是的",
        "正确",
        "The statement is true.",
        "(A) Yes",
        "Based on the image, yes.",
        "Y",
        "√",
    ],
)
def test_yes(text: str) -> None:
    assert read_yes_no(text) is True


@pytest.mark.parametrize(
    "text", ["No", "no, not at all", "False", "不是", "否", "错误", "没有", "It is false", "F", "×"]
)
def test_no(text: str) -> None:
    assert read_yes_no(text) is False


@pytest.mark.parametrize(
    "text", ["Yes or no", "yes and no", "Yesterday", "notable", "No one knows", "No 5", "There is a dog", "know", ""]
)
def test_neither_yes_nor_no(text: str) -> None:
    assert read_yes_no(text) is None


def test_golds_of_truth() -> None:
    assert [gold_yes_no(g) for g in ("Yes", "false", "是", "T", "0", "red")] == [True, False, True, True, False, None]


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("Yes. There is a dog.", "correct"),
        ("Let me look.\nTherefore, yes.", "correct"),
        ("No, there is none.\nFinal answer: Yes", "unparseable"),
        ("The answer is no.", "incorrect"),
        ("It depends.", "unparseable"),
        ("答案：是", "correct"),
    ],
)
def test_yes_no_responses(response: str, outcome: str) -> None:
    assert check_response(response, gold="yes", kind="yes_no").outcome == outcome
