"""Values of trees, exact and as floats, within bounds."""

from __future__ import annotations

import time

import pytest

from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact


@pytest.mark.parametrize(
    "text", ["9^{9^{9^{9}}}", "2^{2^{20}}", "100000!", r"\binom{100000}{5}", r"\frac{1}{0}", "0^{-1}"]
)
def test_what_is_too_large_or_undefined_is_undecided_at_once(text: str) -> None:
    start = time.process_time()
    with pytest.raises(Undecided):
        exact(parse_latex(text))
    assert time.process_time() - start < 0.5


def test_exact_to_the_last_digit() -> None:
    assert exact(parse_latex(r"\frac{2006!}{2005!}")) == 2006
    assert exact(parse_latex("2^{1000}-1")) == 2**1000 - 1


def test_irrational_trees_are_not_rational() -> None:
    for text in (r"\sqrt{2}", r"\pi", "x", r"\sin 1"):
        with pytest.raises(NotRational):
            exact(parse_latex(text))


def test_principal_branches() -> None:
    assert approximate(parse_latex(r"\sqrt{-4}"), {}) == pytest.approx(2j)
    assert approximate(parse_latex(r"\sqrt[3]{-8}"), {}) == pytest.approx(-2)  # Schoolbooks take the real root.
    assert approximate(parse_latex(r"e^{i\pi}"), {}) == pytest.approx(-1)


def test_a_free_symbol_has_no_value() -> None:
    with pytest.raises(Undecided):
        approximate(parse_latex("x"), {})
    assert approximate(parse_latex("x^2"), {"x": 3 + 0j}) == 9
