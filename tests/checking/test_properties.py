"""What must hold for every answer: reflexive, blind to dressing, never blind to a changed sign, digit, unit or "
"bound."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmpr_pipeline.checking import answers_equal, check_prediction, check_response

CHOICES = ("red", "blue", "green", "yellow")
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

word = st.sampled_from("elephant table apple river London triangle 北京 café window thirty".split())  # noqa: SIM905
letters = st.sampled_from("ABCD")
integers = st.integers(-9999, 9999)
DRESSES = [
    "{}", "**{}**", "${}$", "\\boxed{{{}}}", "Final answer: {}", "**Final Answer**: {}", "Final answer：{}", "The "
    "answer is {}.", "答案：{}",
    "【答案】{}", "<answer>{}</answer>", "<think>no: 7</think>{}", "\\text{{{}}}", "Answer: {}", "### Final "
    "Answer\n\n{}", "So the answer is **{}**.",
]  # fmt: skip
dress = st.sampled_from(DRESSES)


@given(integers, dress)
@few
def test_a_dressed_number_is_the_number(value: int, form: str) -> None:
    assert check_response(form.format(value), gold=str(value), kind="number").outcome == "correct"


@given(letters, dress)
@few
def test_a_dressed_letter_is_the_letter(letter: str, form: str) -> None:
    assert check_response(form.format(letter), gold=letter, kind="choice", choices=CHOICES).outcome == "correct"


@given(word, dress)
@few
def test_a_dressed_word_is_the_word(text: str, form: str) -> None:
    assert check_response(form.format(text), gold=text, kind="text").outcome == "correct"


@given(integers, integers, dress)
@few
def test_another_number_is_never_accepted(value: int, other: int, form: str) -> None:
    if value != other:
        assert check_response(form.format(other), gold=str(value), kind="number").outcome != "correct"


@given(st.integers(1, 9999), dress)
@few
def test_a_changed_sign_is_never_accepted(value: int, form: str) -> None:
    for kind in ("number", "text", "chart", "math"):
        assert check_response(form.format(-value), gold=str(value), kind=kind).outcome != "correct"


@given(letters, letters, dress)
@few
def test_another_letter_is_incorrect(letter: str, other: str, form: str) -> None:
    if letter != other:
        assert check_response(form.format(other), gold=letter, kind="choice", choices=CHOICES).outcome == "incorrect"


@given(
    st.integers(1, 999),
    st.sampled_from(["cm", "m", "kg", "°", "%", "$", "hours"]),
    st.sampled_from(["cm", "m", "kg", "%", "hours"]),
)
@few
def test_another_unit_is_never_accepted(value: int, unit: str, other: str) -> None:
    if unit != other:
        said, gold = f"{value} {other}", f"${value}" if unit == "$" else f"{value} {unit}"
        assert check_response(said, gold=gold, kind="number").outcome != "correct"


@given(
    st.integers(1, 99),
    st.sampled_from(["x>{}", "x<{}", "x≥{}", "x≤{}", "x={}"]),
    st.sampled_from(["x>{}", "x<{}", "x≥{}", "x≤{}", "x={}"]),
)
@few
def test_another_comparison_is_never_accepted(value: int, one: str, other: str) -> None:
    if one != other:
        for kind in ("text", "math"):
            assert check_prediction(one.format(value), gold=other.format(value), kind=kind).outcome != "correct"


@given(st.integers(1500, 2100), st.integers(1500, 2100))
@few
def test_years_are_exact(year: int, other: int) -> None:
    for kind in ("number", "chart", "text", "document"):
        assert (check_prediction(str(other), gold=str(year), kind=kind).outcome == "correct") == (year == other)


@given(st.text("０１２３４５６７８９", min_size=1, max_size=4))
@few
def test_full_width_digits_are_digits(digits: str) -> None:
    plain = digits.translate({0xFF10 + i: str(i) for i in range(10)})
    assert check_prediction(digits, gold=plain, kind="number").outcome == "correct"


@given(
    word | integers.map(str), word | integers.map(str), st.sampled_from(["text", "number", "math", "chart", "document"])
)
@few
def test_equality_is_reflexive_and_symmetric(a: str, b: str, kind: str) -> None:
    assert answers_equal(a, a, kind=kind)
    assert answers_equal(a, b, kind=kind) == answers_equal(b, a, kind=kind)


@pytest.mark.parametrize(
    "gold",
    ["5", "-3", "3/4", "1,234", "2\\sqrt{3}", "(2,3)", "x>5", "[1, 2]", "elephant", "25%", "$3.50", "12 cm", "2019"],
)
@pytest.mark.parametrize("kind", ["number", "math", "text", "list", "chart", "document", None])
def test_a_gold_is_its_own_answer(gold: str, kind: str | None) -> None:
    verdict = check_prediction(gold, gold=gold, kind=kind)
    assert verdict.outcome == "correct", verdict
