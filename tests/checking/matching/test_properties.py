"""What must hold of every answer: harmless dressing changes nothing; a sign, digit, unit or comparison changes all."""

from __future__ import annotations

import time
from fractions import Fraction

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mmpr_pipeline.checking.matching.math import match_math

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

integers = st.integers(-10_000, 10_000).map(str)
decimals = st.tuples(st.integers(-999, 999), st.integers(1, 999)).map(lambda p: f"{p[0]}.{p[1]:03d}")
fractions = st.tuples(st.integers(-60, 60), st.integers(2, 60)).map(lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}")
surds = st.tuples(st.integers(2, 30), st.sampled_from([2, 3, 5, 6, 7, 10])).map(lambda p: rf"{p[0]}\sqrt{{{p[1]}}}")
polynomials = st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(1, 9)).map(
    lambda p: f"{p[0]}x^2-{p[1]}x+{p[2]}"
)
scalars = st.one_of(integers, decimals, fractions, surds)
tuples = st.lists(scalars, min_size=2, max_size=4).map(lambda parts: f"({', '.join(parts)})")
lists = st.lists(st.integers(-99, 99).map(str), min_size=2, max_size=5, unique=True).map(", ".join)
intervals = st.tuples(st.sampled_from("(["), st.integers(-50, 0), st.integers(1, 50), st.sampled_from(")]")).map(
    lambda p: f"{p[0]}{p[1]}, {p[2]}{p[3]}"
)
equations = st.tuples(st.integers(2, 9), st.integers(1, 9)).map(lambda p: f"y={p[0]}x-{p[1]}")
inequalities = st.tuples(st.sampled_from(["<", ">", r"\le ", r"\ge "]), st.integers(-50, 50)).map(
    lambda p: f"x{p[0]}{p[1]}"
)
units = st.sampled_from(["cm", "m", "kg", "g", "km/h", "m/s", "cm^2", "m^2", "hours", "minutes", "N", "J", "dollars"])
quantities = st.tuples(st.integers(1, 999), units).map(lambda p: f"{p[0]} {p[1]}")
answers = st.one_of(
    scalars,
    polynomials,
    tuples,
    lists,
    intervals,
    equations,
    inequalities,
    quantities,
    st.just(r"\pi"),
    st.just("2^{10}"),
)
_FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
_DRESSES = {
    "bold": lambda text: f"**{text}**",
    "dollars": lambda text: f"${text}$",
    "two dollars": lambda text: f"$${text}$$",
    "inline": lambda text: rf"\({text}\)",
    "display": lambda text: rf"\[ {text} \]",
    "stop": lambda text: f"{text}.",
    "blanks": lambda text: f"  {text}\n",
    "full width": lambda text: text.translate(_FULL_WIDTH),
    "boxed": lambda text: rf"\boxed{{{text}}}",
    "minus": lambda text: text.replace("-", "−"),
    "sizes": lambda text: text.replace("(", r"\left(").replace(")", r"\right)"),
    "fractions": lambda text: text.replace(r"\frac", r"\dfrac"),
}  # fmt: skip


@FEW
@given(answers)
def test_reflexive(text: str) -> None:
    assert match_math(text, text).outcome == "correct"


@FEW
@given(answers, st.sampled_from(sorted(_DRESSES)))
def test_harmless_dressing_changes_nothing(text: str, dress: str) -> None:
    assert match_math(_DRESSES[dress](text), text).outcome == "correct"
    assert match_math(text, _DRESSES[dress](text)).outcome == "correct"


@FEW
@given(answers, answers)
def test_symmetric_where_nothing_is_rounded(one: str, other: str) -> None:
    assume("." not in one + other)
    assert (match_math(one, other).outcome == "correct") == (match_math(other, one).outcome == "correct")


@FEW
@given(
    st.one_of(integers, fractions, surds, decimals, polynomials, tuples, intervals, equations, quantities), st.data()
)
def test_a_changed_digit_is_never_accepted(text: str, data: st.DataObject) -> None:
    places = [index for index, char in enumerate(text) if char.isdigit()]
    place = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([d for d in "123456789" if d != text[place]]))
    changed = text[:place] + digit + text[place + 1 :]
    assume(not _same_fraction(text, changed))
    assert match_math(changed, text).outcome != "correct"


def _same_fraction(one: str, other: str) -> bool:
    """Whether two `\\frac` texts, or surds whose radicand the change made a square, happen to be one number."""
    values = []
    for text in (one, other):
        if "sqrt" in text:
            front, _, radicand = text.partition(r"\sqrt{")
            values.append(Fraction(int(front) ** 2 * int(radicand.rstrip("}"))) if front.isdigit() else Fraction(-1))
        elif text.startswith(r"\frac{") and text.count("{") == 2:
            top, bottom = text[6:-1].split("}{")
            values.append(Fraction(int(top), int(bottom) or 1))
        else:
            return "frac" in text or "sqrt" in text  # Within a tuple: not worked out here.
    return values[0] == values[1]


@FEW
@given(st.one_of(integers, decimals, fractions, surds, quantities))
def test_a_changed_sign_is_never_accepted(text: str) -> None:
    changed = text[1:] if text.startswith("-") else text.replace("{-", "{", 1) if "{-" in text else f"-{text}"
    assume(any(c in "123456789" for c in text.partition("}")[0]))
    assert match_math(changed, text).outcome != "correct"


@FEW
@given(inequalities, st.sampled_from(["<", ">", r"\le ", r"\ge ", "="]))
def test_a_changed_comparison_is_never_accepted(text: str, operator: str) -> None:
    sign = next(s for s in (r"\le ", r"\ge ", "<", ">") if s in text)
    assume(sign != operator)
    assert match_math(text.replace(sign, operator), text).outcome != "correct"


@FEW
@given(intervals, st.booleans())
def test_a_changed_end_of_an_interval_is_never_accepted(text: str, first: bool) -> None:
    swapped = {"(": "[", "[": "(", ")": "]", "]": ")"}
    changed = swapped[text[0]] + text[1:] if first else text[:-1] + swapped[text[-1]]
    assert match_math(changed, text).outcome != "correct"


@FEW
@given(st.integers(1, 999), units, units)
def test_a_changed_unit_is_never_accepted(value: int, one: str, other: str) -> None:
    assume(one != other)
    assert match_math(f"{value} {one}", f"{value} {other}").outcome == "incorrect"
    assert match_math(f"{value} {one}", str(value), unit=other).outcome == "incorrect"


@FEW
@given(st.integers(-9999, 9999), st.integers(-9999, 9999))
def test_integers_and_years_are_exact(one: int, other: int) -> None:
    assert (match_math(str(one), str(other)).outcome == "correct") == (one == other)
    assert (match_math(f"{one}.0", str(other)).outcome == "correct") == (one == other)


@FEW
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_lists_have_no_order_but_all_members(members: list[int], random: object) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    gold = ", ".join(map(str, members))
    assert match_math(", ".join(map(str, shuffled)), gold).outcome == "correct"
    assert match_math(", ".join(map(str, members[:-1])), gold).outcome == "incorrect"
    assert match_math(", ".join(map(str, [*members[:-1], 100])), gold).outcome == "incorrect"


@FEW
@given(st.integers(1, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_expansion_of_polynomials(a: int, b: int, c: int) -> None:
    factored, expanded = f"{a}(x+{b})(x+{c})", f"{a}x^2+{a * (b + c)}x+{a * b * c}"
    assert match_math(factored.replace("+-", "-"), expanded.replace("+-", "-")).outcome == "correct"
    assert match_math(factored.replace("+-", "-"), f"{expanded}+1".replace("+-", "-")).outcome == "incorrect"


_PIECES = [
    r"\frac", r"\sqrt", "{", "}", "(", ")", "[", "]", r"\{", r"\}", "^", "_", "+", "-", "*", "/", "=", "<",
    ">", r"\le", ",", ";", ":", "|", "!", "'", "$", "%", r"\%", "&", r"\\", r"\pi", "x", "y", "n", "abc",
    "sin", r"\sin", r"\log", r"\int", r"\sum", r"\lim", r"\begin{pmatrix}", r"\end{pmatrix}", r"\text{",
    r"\text{ and }", " or ", "0", "1", "7", "12.5", "1e9", "99999999", r"\pm", r"\infty", r"\cup", r"\in",
    r"\mathbb{R}", "°", "½", "①", "三", "万", "元", "cm", " m", "not", "is", ".", "…", "\x00", "\u200b", "é",
    "😀", r"\pmod", r"\boxed{", "**", r"\left(", r"\right)", r"\overline", r"0.\overline{3}", "million",
    "half", "<think>", "</think>",
]  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(_PIECES), max_size=25).map("".join), st.sampled_from(["5", r"\frac{1}{2}", "x<3", "(1,2)"])
)
def test_fuzz_of_mathematical_pieces(text: str, gold: str) -> None:
    assert match_math(text, gold).rule != "internal_error"
    assert match_math(gold, text).rule != "internal_error"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.text(max_size=40))
def test_fuzz_of_any_text(text: str, gold: str) -> None:
    start = time.process_time()
    assert match_math(text, gold).rule != "internal_error"
    assert time.process_time() - start < 1
