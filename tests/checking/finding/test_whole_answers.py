r"""What a number is a part of: `1 234,50`, `3½`, `2^{10}`, `3, 4`. A part of an answer is never judged in its place."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking import check_prediction, check_response

PLACES = (
    "There are 17 of these in row 3.\n\nFinal answer: {}",
    "We look at the picture first. The answer is {}.",
    "First compute 17 + 3 = 20. Therefore, the answer is: **{}**",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("kind", "answer", "gold"),
    [
        ("number", "1 234", "1234"),
        ("number", "1 234,50", "1234.5"),
        ("number", "1\u202f234,50", "1234.5"),
        ("number", "1'234", "1234"),
        ("number", "1.234,5", "1234.5"),
        ("number", "1.234.567", "1234567"),
        ("number", "2.5M", "2,500,000"),
        ("number", "25k", "25000"),
        ("number", "½", "0.5"),
        ("number", "3½", "3.5"),
        ("number", "3²", "9"),
        ("number", "10^{-3}", "0.001"),
        ("number", "2^{10}", "1024"),
        ("number", "1.5·10^3", "1500"),
        ("number", "1.5 × 10³", "1500"),
        ("number", "two thirds", "2/3"),
        ("number", "三分之二", "2/3"),
        ("number", "一百零五", "105"),
        ("math", "\\cos(\\pi)", "-1"),
        ("math", "\\infty", "+\\infty"),
        ("math", "\\emptyset", "\\varnothing"),
        ("math", "(-\\infty,\\infty)", "\\mathbb{R}"),
        ("math", "\\overrightarrow{AB}", "\\vec{AB}"),
        ("math", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}"),
        ("list", "blue and red", '["red", "blue"]'),
    ],
)
def test_an_announced_answer_is_read_whole(place: str, kind: str, answer: str, gold: str) -> None:
    assert check_response(place.format(answer), gold, kind=kind).outcome == "correct"


@pytest.mark.parametrize(
    ("response", "gold", "outcome"),
    [
        ("The answer is 2.5M people.", "2500000", "correct"),
        ("The answer is 10k people.", "10000", "correct"),
        ("The answer is 300 K.", "300", "correct"),
        ("The answer is 300K people.", "300", "unparseable"),
        ("The answer is 1 234 people.", "1", "unparseable"),
        ("The answer is 1 234 people.", "234", "unparseable"),
        ("The answer is 3½ cups of flour.", "3", "unparseable"),
        ("The answer is 2^{10} bytes.", "10", "unparseable"),
        ("The answer is 10³ of them.", "10", "unparseable"),
        ("The answer is 3, 4.", "3", "incorrect"),
        ("The answer is 3, 4 and 5 apples.", "3", "unparseable"),
        ('The answer is ["3", "4"].', "3", "unparseable"),
        ("The answer is 3, which is less than 5.", "3", "correct"),
        ("The answer is 5, 3 more than 2.", "5", "correct"),
        ("The answer is 0.15, or 15%.", "0.15", "correct"),
        ("The answer is 7, i.e. seven.", "7", "correct"),
        ("The answer is 5!", "5", "correct"),
    ],
)
def test_a_part_of_an_answer_is_not_the_answer(response: str, gold: str, outcome: str) -> None:
    assert check_response(response, gold, kind="number").outcome == outcome


def test_blanks_between_digits_tell_numbers_apart() -> None:
    assert check_prediction("4 2", gold="42", kind="number").outcome != "correct"
    assert check_prediction("31/2", gold="3 1/2", kind="number").outcome == "incorrect"
    assert check_prediction("1 234", gold="1234", kind="number").outcome == "correct"
    assert check_prediction("x = 4 2", gold="x = 4 2", kind="math").outcome == "correct"


def test_after_an_announcement_that_is_not_read_other_numbers_are_in_doubt() -> None:
    said = "First compute 17 + 3 = 20. Therefore, the answer is: **XIV**"
    assert check_response(said, "14", kind="number").outcome == "unparseable"
    assert check_response(said, "20", kind="number").outcome == "correct"


def test_none_may_mean_zero() -> None:
    assert check_response("The answer is none.", "0", kind="number").outcome == "unparseable"
    assert check_response("The answer is none.", "4", kind="number").outcome == "incorrect"


@pytest.mark.parametrize("said", ["C. Wait, no, B.", "C. Sorry, it is B.", "C. Actually, I mean A."])
def test_a_letter_that_is_taken_back_is_in_doubt(said: str) -> None:
    choices = ("red", "blue", "green", "grey")
    assert check_response(said, "C", kind="choice", choices=choices).outcome == "unparseable"
    assert check_response("C. Wait until it is green.", "C", kind="choice", choices=choices).outcome == "correct"


def test_words_of_a_list_within_a_sentence_are_in_doubt() -> None:
    said = "red and also blue because of the lamp"
    assert check_response(said, '["red", "blue"]', kind="list").outcome == "unparseable"
    assert check_response("red, green", '["red", "blue"]', kind="list").outcome == "incorrect"


def test_an_answer_supposed_for_the_sake_of_argument_is_none() -> None:
    choices = ("30", "45", "60", "90")
    said = "If the answer were B, then x = 3, which is impossible."
    assert check_response(said, "B", kind="choice", choices=choices).outcome != "correct"
    said = "If the answer is 12, the sum is odd. So it is 14."
    assert check_response(said, "12", kind="number").outcome != "correct"


@pytest.mark.parametrize(
    ("said", "gold", "outcome"),
    [
        ("Tuesday", "Tuesday", "correct"),
        ("The answer is even.", "\\text{even}", "correct"),
        ("The answer is: no solution", "\\text{no solution}", "correct"),
        ("undefined", "\\text{undefined}", "correct"),
        ("The answer is odd.", "\\text{even}", "unparseable"),
        ("The answer is as follows: x = 5", "5", "correct"),
        ("The answer is simple. It equals 5.", "5", "correct"),
    ],
)
def test_an_answer_in_words_to_a_question_of_mathematics(said: str, gold: str, outcome: str) -> None:
    assert check_response(said, gold, kind="math").outcome == outcome


def test_charges_are_the_same_in_any_script() -> None:
    assert check_response("Fe2+", "Fe²⁺", kind="text").outcome == "correct"
    assert check_response("Fe3+", "Fe²⁺", kind="text").outcome != "correct"
