"""Sets of reals in their many notations."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.values.collections.real_sets import NotASet, intervals_of, same_set
from mmpr_pipeline.checking.values.expression import Context


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"-2 \le x < 7", "[-2, 7)", True),
        (r"-2 \le x < 7", "[-2, 7]", False),
        ("2x+1 > 5", r"(2, \infty)", True),
        ("1 - x > 0", r"(-\infty, 1)", True),
        (r"x < 1 \text{ or } x > 3", r"(-\infty,1) \cup (3,\infty)", True),
        (r"x > 1 \text{ and } x < 3", "(1, 3)", True),
        (r"[0,2] \cup [1,3]", "[0,3]", True),
        (r"[0,1) \cup (1,2]", "[0,2]", False),
        (r"[0,1) \cup [1,2]", "[0,2]", True),
        (r"(0,5) \cap (3,9)", "(3,5)", True),
        (r"\mathbb{R} \setminus \{1\}", r"x \ne 1", True),
        (r"\{x \mid x \ge \sqrt{2}\}", r"[\sqrt{2}, \infty)", True),
        (r"\{1\}", r"x = 1", True),
        (r"x < \pi", r"x < 3.15", False),
    ],
)
def test_same_set(one: str, other: str, same: bool) -> None:
    assert same_set(parse_latex(one), parse_latex(other), Context()) is same


def test_what_is_no_set() -> None:
    for text in ("5", "x + 1", "(1, 2, 3)", "x + y > 1", "x^2 > 1"):
        with pytest.raises(NotASet):
            intervals_of(parse_latex(text))
