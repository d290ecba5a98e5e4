"""Hostile texts: long, deep, repeated, or made to explode. Each must be decided in little processor time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mmpr_pipeline.checking.matching.math import match_math

N = 39_000
HOSTILE = {
    "boxes": r"\boxed{" * 5000,
    "closed boxes": r"\boxed{" * 2000 + "5" + "}" * 2000,
    "commands": r"\text{" * 6000,
    "dollars": "$" * N,
    "fractions": r"\frac" * 7000,
    "list": ",".join(map(str, range(7000))),
    "list of formulas": ",".join(rf"x^{i}+\sqrt{{y}}\sin(z)" for i in range(2, 31)),
    "brackets": "(" * N,
    "plus-minus": r"\pm 1" * 6000,
    "blanks": "1" + " " * N + "2",
    "digits": "9" * N,
    "decimals": "0." + "3" * N,
    "tower": "2^" * 40 + "2",
    "tower of factorials": "9" + "!" * 1000,
    "binomial": r"\binom{10^9}{5\cdot10^8}",
    "matrix": r"\begin{pmatrix}" + r"1&2\\" * 5000 + r"\end{pmatrix}",
    "equations": "=".join(["x"] * 9000),
    "comparisons": "<".join(["x"] * 9000),
    "divisions": "1/" * 9000 + "1",
    "divided letters": "x/y" * 5000,
    "unions": r"(1,2)\cup" * 3000 + "(1,2)",
    "inequalities": " or ".join(f"x<{i}" for i in range(3000)),
    "units": "5 " + "m/" * 9000 + "s",
    "words": "5 " + "apple " * 6000,
    "numerals": "三" * N,
    "fraction signs": "½" * 9000,
    "superscripts": "²" * N,
    "combining marks": "e" + "\u0301" * N,
    "functions": r"\sin x " * 5000,
    "unknown functions": "f(x)" * 4000,
    "polynomial": "+".join(f"x^{{{i}}}" for i in range(3000)),
    "product": "(x+1)" * 5000,
    "exponentials": "e^{e^{e^{e^{e^x}}}}",
    "unclosed powers": "x^+ " * 500,
    "zero bytes": "\x00" * N,
    "thoughts": "<think>" * 5000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("other", ["5", "x^2+1", "1,2,3", HOSTILE["list of formulas"]])
def test_decided_in_little_time_and_never_correct(name: str, other: str) -> None:
    text = HOSTILE[name]
    for prediction, gold in ((text, other), (other, text)):
        start = time.process_time()
        outcome = match_math(prediction, gold).outcome
        assert time.process_time() - start < 1
        assert outcome != "correct" or prediction == gold or "boxes" in name


@pytest.mark.parametrize(
    "text",
    [
        r"\sum_{n=1}^{10^9} \sin(n^n)",
        r"\sum_{n=1}^{100000000} \frac{1}{n}",
        r"\int_0^1 \sin(\sin(\sin(x^x))) dx",
        r"\lim_{x\to\infty} \frac{x^{x^{x}}}{e^{x^x}}",
        r"\prod_{n=1}^{10^8} (1+\frac{1}{n^2})",
        r"\sum_{n=1}^{3} 9^{9^{9^{n}}}",
        r"\int_0^1 (x+1)^{9999} dx",
    ],
)
def test_calculus_that_explodes_costs_one_verdict(text: str) -> None:
    assert match_math(text, "3").outcome != "correct"
    assert match_math(r"\sqrt{12}", r"2\sqrt{3}").outcome == "correct"


def test_no_code_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for text in (
        f"__import__('os').system('touch {mark}')",
        f"open('{mark}','w')",
        f"exec(\"open('{mark}','w')\")",
        f"(lambda: open('{mark}','w'))()",
        f"\\boxed{{open('{mark}','w')}}",
        f"1+open('{mark}','w')",
        f'f\'{{open("{mark}","w")}}\'',
    ):
        assert match_math(text, "5").outcome != "correct"
        assert match_math("5", text).outcome != "correct"
    assert not mark.exists()
