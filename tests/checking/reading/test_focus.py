"""The mathematics within an extracted answer."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking.reading.focus import boxed_contents, core
from mmpr_pipeline.checking.values.expression import ParseError


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"so $\boxed{1}$ and $\boxed{2}$", "1, 2"),
        ("$5$", "5"),
        ("$$5$$.", "5"),
        (r"\(5\)", "5"),
        ("$21,16$ or $11$", "21,16 or 11"),
        ("The sum is $7$", "7"),
        ("69$,$84", "69 , 84"),
        ("the total is 1,000.99", "1,000.99"),
        ("**5**", "5"),
        ("$5", "$5"),
        ("$1,000 and $2", "$1,000 and $2"),
        ("<think>5</think> 7", "7"),
        ("Since $x<2$ holds, the answer is $3$", "3"),
    ],
)
def test_core(text: str, inner: str) -> None:
    assert core(text) == inner


def test_several_formulas_in_a_sentence_are_not_guessed_among() -> None:
    with pytest.raises(ParseError):
        core("The rent for $A$ is high and for $B$ low")


def test_boxes_nest_and_may_be_left_open() -> None:
    assert boxed_contents(r"\boxed{a{b}c} \boxed{} \boxed{d") == ["a{b}c", "d"]
