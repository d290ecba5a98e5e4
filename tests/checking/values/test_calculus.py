"""Series and limits decided without computer algebra."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.values.numbers.calculus import TooLong, compare_limit, written_out
from mmpr_pipeline.checking.values.numbers.exact import exact


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\sum_{k=1}^{100} k", 5050),
        (r"\prod_{k=1}^{5} k", 120),
        (r"\sum_{i=1}^{3} \sum_{j=1}^{i} j", 10),
        (r"2 + \sum_{k=0}^{3} 2^k", 17),
    ],
)
def test_short_series(text: str, value: int) -> None:
    assert exact(written_out(parse_latex(text))) == value


def test_long_series_are_left_alone() -> None:
    with pytest.raises(TooLong):
        written_out(parse_latex(r"\sum_{n=1}^{100000000} \frac{1}{n}"))
    assert written_out(parse_latex(r"\sum_{k=1}^{n} k")) == parse_latex(r"\sum_{k=1}^{n} k")


@pytest.mark.parametrize(
    ("text", "value", "verdict"),
    [
        (r"\lim_{x\to 0} \frac{\sin x}{x}", "1", True),
        (r"\lim_{x\to 0} \frac{\sin x}{x}", "2", False),
        (r"\lim_{x\to 0} \frac{\sin(\tan x)-\tan(\sin x)}{\arcsin(\arctan x)-\arctan(\arcsin x)}", "1", True),
        (r"\lim_{x\to 2} \frac{x^2-4}{x-2}", "4", True),
        (r"\lim_{x\to 0} \frac{1}{x}", "0", None),
        (r"\lim_{x\to 0} \sin\frac{1}{x}", "0", None),
        (r"\lim_{x\to 0} \frac{|x|}{x}", "1", None),
        (r"\lim_{x\to\infty} \frac{1}{x}", "0", None),
    ],
)
def test_limits(text: str, value: str, verdict: bool | None) -> None:
    assert compare_limit(parse_latex(text), parse_latex(value))[0] is verdict
