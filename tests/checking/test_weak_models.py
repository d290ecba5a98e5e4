"""What weak models write instead of an answer, and how strong ones bury it: seen in some 25,000 published responses.

A pair is only as good as its verdicts. A list of choices said over again, an honest "cannot be told", or a number that
merely stands about must never become a chosen response; a right answer in an unusual place never a rejected one.
"""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking import answers_equal, check_response

YES_NO = ("yes", "no")
SOLUTIONS = ("neither; their concentrations are the same", "Solution A", "Solution B")
ANGLES = ("65°", "120°", "130°", "55°")
ANIMALS = ("Insects", "Hawk and snake", "Snake and raccoon", "Mouse and cricket")
MONTHS = ("May", "June", "July", "August")


@pytest.mark.parametrize(
    ("choices", "response"),
    [
        (YES_NO, "(C) yes\n(D) no"),  # goes on with the list instead of answering
        (YES_NO, "Is Teal less than Maroon?\nChoices:\n(A) yes\n(B) no"),  # says the question over again
        (YES_NO, "Is it?\nChoices:\n(A) yes\n(B) no\nQuestion: Is Olive less?\nChoices:\n(A) yes\n(B) no"),
        (("A", "B", "C", "D"), "Choose the next shape.\nA\nB\nC\nD"),
        (("A", "B", "C", "D"), "Find the next shape.\nChoices:\n(A) A\n(B) B\n(C) C\n(D) D"),
        (("a = b", "b = c", "a + c = 9"), "All are true except:\n(A) a = b\n(B) b = c\n(C) a + c = 9"),
        (("①②", "①③", "②④", "③④"), "【答案】A. ①② B. ①③ C. ②④ D. ③④"),
        (SOLUTIONS, "(D) Solution C"),  # the article `a` is no letter
        (ANGLES, "We lack the length of AB. Therefore, none of the options A, B, C, D is correct."),
        (("119°", "148°", "150°"), "Therefore the angles at B and C are 148 degrees and 50 degrees, respectively."),
        (("yes", "no"), "A - No, the windows have no such shape."),  # letter against words
        (("0.6", "0.8", "0.75"), "A:  cosA = BC = 0.8"),
        ((r"$\pi$", r"$2 \pi$", r"$3 \pi$"), r"This gives $\boxed{(B)~10 \pi \mathrm{cm}^{2}}$"),
        (ANGLES, "∠AEC = 180° - 55° = 125°\n\n所以∠AEC的度数是C (125°)。"),
    ],
)
def test_no_choice_is_named(choices: tuple[str, ...], response: str) -> None:
    for gold in choices:
        assert check_response(response, gold=gold, kind="choice", choices=choices).outcome == "unparseable"


@pytest.mark.parametrize(
    ("choices", "gold", "response"),
    [
        (SOLUTIONS, "Solution B", "The solution with a higher concentration of particles is Solution B."),
        (SOLUTIONS, "Solution A", "Solution A is the one with more of them."),
        (ANIMALS, "Snake and raccoon", "The organisms hit most are (C) Snake and raccoon.\n\nThe insects feed on it."),
        (ANGLES, "130°", "因为∠ABC是直角，所以∠AEC的度数为C。"),
        (ANGLES, "55°", "因此，∠BDC的度数为55°，选项为D。"),
        (ANGLES, "120°", "By the theorem, x = 240/2 = 120°, which corresponds to option B."),
        (ANGLES, "120°", "The two arcs add up, and this matches option (B)."),
        (YES_NO, "no", "Okay, based on the information provided:\n\nB"),
        (
            ("1", "2", "3", "4"),
            "2",
            "Given that DE is a midline and the perimeter of ADE is 1, that of ABC would be 2.",
        ),
        (("-4 ; 0", "-8 ;-4 ; 0"), "-8 ;-4 ; 0", r"Thus it is $\boxed{\text{(B) } -8 ; -4 ; 0}$."),
        (MONTHS, "July", "May has 3, June 4.\nA) May: 3\nB) June: 4\nC) July: 1\nD) August: 2\nC"),
    ],
)
def test_the_choice_that_is_named(choices: tuple[str, ...], gold: str, response: str) -> None:
    for choice in choices:
        outcome = check_response(response, gold=choice, kind="choice", choices=choices).outcome
        assert outcome == ("correct" if choice == gold else "incorrect")


@pytest.mark.parametrize(
    ("question", "response", "number"),
    [
        ("What is the value of f(0)?", "The question does not provide enough information to tell f(0).", "0"),
        ("What is the value of f(0)?", "The problem does not give the formula that is needed for f(0).", "0"),
        ("What is the age gap?", "The image does not provide any information about the gap between the two.", "2"),
        ("What is the ratio?", "Unfortunately I do not have enough information on these two companies.", "2"),
        ("What is the smallest value?", "You need to look at all values and identify the smallest one.", "1"),
        ("How many were born later?", "Of the three people in the image, only the actor was born later.", "3"),
        (
            "It has 4 dots divided into 2 equal groups. There are (_) dots in each group.",
            "The model has ___ dots divided into 2 equal groups.",
            "2",
        ),
        (
            "The model has 9 dots divided into 3 equal groups. There are (_) dots in each group.",
            "The model has 9 dots divided into 3 equal groups.",
            "9",
        ),
        ("What number of things are large or tiny?", "There are two large objects behind the bus and three tiny.", "2"),
        ("What is the degree?", "For x^2 the degree is 2. Without the function, it is impossible to tell it.", "2"),
        ("Into how many?", "The perimeter is that of the square, which is four times the length of a side.", "4"),
        ("What is its area?", r"16 $\pi$", r"\pi"),
        ("What is the mode?", "There are two modes: 1 and 9. The answer is 1 and 9.", "1"),
        (
            "What is the range of the numbers?",
            "Okay, here is the answer with the final value:\n\nShe kept a log for 7 days. The highest is 12 and the "
            "lowest is 3.\n\n12 - 3 = 9\n\nSo the range is 9.",
            "7",
        ),
        ("What does it cost? (Unit: $)", "Find the cost of 4.6 kilograms of it.\n\n4.6 * 3\n\nShe needs $13.8.", "4.6"),
    ],
)
def test_a_number_that_stands_about_is_no_answer(question: str, response: str, number: str) -> None:
    assert check_response(response, gold=number, kind="number", question=question).outcome != "correct"


@pytest.mark.parametrize(
    ("question", "response", "gold"),
    [
        ("How much does she need?", "$61.09 + $48.44 = $109.53.", "109.53"),
        ("How much does she need?", "$6 + $7 + $8 = $21.", "21"),
        ("How much does he need?", "7 x 9,079 = 63,553.", "63,553"),
        ("How much more is it?", "$10.94 - 10.53 = $0.41", "0.41"),
        ("What is left?", "negative four", "-4"),
        ("How many pages?", "one hundred and ten", "110"),
        ("How many pages?", "There are one hundred twenty-one pages.", "121"),
        ("How many bars are below 40?", "There are 3 bars below 40. They are 28, 29, and 33, respectively.", "3"),
        (
            "What is the range of the numbers?",
            "Okay, here is the answer with the final value:\n\nShe kept a log for 7 days. The highest is 12 and the "
            "lowest is 3.\n\n12 - 3 = 9\n\nSo the range is 9.",
            "9",
        ),
        (
            "What is the total cost? (Unit: $)",
            "Find the total cost of 4.6 kilograms of turmeric.\n\n4.6 kg * $3 per kg = $13.8\n\nNatalie needs $13.8.",
            "13.8",
        ),
        ("How many are there?", "There are three people in the room.", "3"),
        ("How many are there?", "A total of two.", "2"),
        ("What is its area?", r"16 $\pi$", r"16\pi"),
    ],
)
def test_the_number_that_answers(question: str, response: str, gold: str) -> None:
    assert check_response(response, gold=gold, kind="number", question=question).outcome == "correct"
    assert check_response(response, gold="77", kind="number", question=question).outcome == "incorrect"


@pytest.mark.parametrize(
    ("response", "unit", "outcome"),
    [
        ("The rate of change was 6 minutes per month.", "minutes per month", "correct"),
        ("-6 minutes per day.", "minutes per day", "incorrect"),
        ("The rate of change was $6 per year.", "$, per year", "correct"),
        ("The answer is $6.", "$, per year", "correct"),
        ("It was 6 minutes per year.", "minutes per day", "incorrect"),
    ],
)
def test_rates(response: str, unit: str, outcome: str) -> None:
    question = "According to the table, what was the rate of change between May and June?"
    assert check_response(response, gold="6", kind="number", unit=unit, question=question).outcome == outcome


def test_an_equation_is_not_held_against_its_right_side() -> None:
    assert check_response("G + J = 6", gold="6", kind="number").outcome != "incorrect"
    assert check_response("So 40 + 80 = 120", gold="120", kind="math").outcome == "correct"
    assert check_response("So 40 + 80 = 12", gold="120", kind="math").outcome == "incorrect"
    assert not answers_equal("60", "40 + 80 = 12", kind="math")


def test_a_sentence_that_ends_on_the_answer_is_understood() -> None:
    for response in (
        "The capital is Paris.",
        "It is Paris",
        "The city in the picture is called Paris.",
        'The sign reads "Paris".',
    ):
        assert check_response(response, gold="Paris", kind="text").outcome == "correct"
        assert check_response(response, gold="London", kind="text").outcome != "correct"
    for response in ("The capital is not Paris.", "I doubt that the capital is Paris.", "Is the capital Paris?"):
        assert check_response(response, gold="Paris", kind="text").outcome != "correct"


@pytest.mark.parametrize(
    ("choices", "response"),
    [
        (("10°", "20°", "40°", "80°"), "∠EOD = (20°) + (∠ODF) = 20° + 140° = 160°"),
        (("2", "4", "5", "8"), "It is either 5 or 8, depending on the answer: (a) 2, (b) 4, (c) 5, or (d) 8?"),
    ],
)
def test_no_choice_is_right(choices: tuple[str, ...], response: str) -> None:
    for gold in choices:
        assert check_response(response, gold=gold, kind="choice", choices=choices).outcome != "correct"


@pytest.mark.parametrize(
    ("kind", "response", "gold", "outcome"),
    [
        ("document", "Signed by: John Smith", "John Smith", "correct"),
        ("document", "The date is March 12, 1998.", "12 March 1998", "correct"),
        ("document", "It was signed by the president John Smith in person, he says", "John Smith", "unparseable"),
        ("text", "The man is standing and the ball is red.", "red", "unparseable"),
        ("chart", "Yes, it does.", "Yes", "correct"),
        ("chart", "No, it is lower.", "Yes", "incorrect"),
        ("chart", "It was 45 in 2015 and 50 in 2016.", "45", "unparseable"),
        ("chart", "It was 45 in 2015.", "45", "correct"),
        ("number", "There are 2 red balls and 1 blue ball, so 3 in total.", "3", "correct"),
        ("number", "It has 3 in total.", "3", "correct"),
        ("number", "The answer should be 12, though it could be 13.", "12", "unparseable"),
    ],
)
def test_answers_in_a_sentence(kind: str, response: str, gold: str, outcome: str) -> None:
    assert check_response(response, gold=gold, kind=kind).outcome == outcome


def test_a_question_that_is_called_wrong_names_no_choice() -> None:
    for response in ("【答案】: 题目有误，四个选项都没有语病。", "【答案】无正确答案", "选项中没有正确的答案。"):
        assert check_response(response, gold="A", kind="choice", choices=ANGLES).outcome != "correct"


@pytest.mark.parametrize(
    ("question", "response", "truth"),
    [
        ("Is the function convex?", "The function is not convex.", False),
        ("Is the function convex?", "The function is convex, as it bends upwards.", True),
        ("Does the grey bar always have a smaller value?", "The grey bar always has a smaller value.", True),
        ("Does Teal intersect Blue?", "Based on the graph, Teal doesn't intersect Blue.", False),
        ("Are there fewer vans than cars?", "Based on the image, there are fewer vans than cars.", True),
        ("Is the number of cars less than that of vans?", "The number of cars is less than that of vans.", True),
        ("Is there a dog in the picture?", "There is no dog in the picture.", False),
        ("Is Teal larger than Blue?", "Blue is larger than Teal.", None),  # the same words in another order
        ("Is Teal larger than Blue?", "Teal is larger than Olive.", None),
        ("Is Teal larger or smaller?", "Teal is larger.", None),
        ("Is it not blue?", "It is blue.", None),
        ("Is the nest larger than a fist?", "The nest is almost larger than a fist.", None),
        ("Is it open?", "Is it open?", None),
        ("Is it open?", "It is not true that it is not open.", None),
    ],
)  # fmt: skip
def test_a_question_said_again_as_a_statement(question: str, response: str, truth: bool | None) -> None:
    outcome = {True: "correct", False: "incorrect", None: "unparseable"}[truth]
    assert check_response(response, gold="yes", kind="yes_no", question=question).outcome == outcome
    choices = ("yes", "no")
    assert check_response(response, gold="yes", kind="choice", choices=choices, question=question).outcome == outcome
