"""Our own parser: what it reads, how, and what it refuses."""

from __future__ import annotations

import contextlib
import time
from fractions import Fraction

import pytest

from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.values.expression import MAX_CHARS, Expr, ParseError, free_symbols, operations
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import exact


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\frac13", Fraction(1, 3)),
        (r"\frac{1}{72}", Fraction(1, 72)),
        (r"\frac1{72}", Fraction(1, 72)),
        ("1 1/2", Fraction(3, 2)),
        (r"12\frac{3}{5}", Fraction(63, 5)),
        ("2^{10}", 1024),
        ("2^10", 1024),
        ("2**3**2", 512),
        ("-3^2", -9),
        ("6/2*3", 9),
        (r"8 \div 4 \times 2", 4),
        ("10-4-3", 3),
        ("2-(3-4)", 3),
        (r"\sqrt{16}", 4),
        (r"\sqrt[3]{27}", 3),
        ("5!", 120),
        (r"\binom{6}{2}", 15),
        ("1,234,567", 1234567),
        ("1 234 567", 1234567),
        (r"3{,}000", 3000),
        ("1.5e-3", Fraction(3, 2000)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        ("2.5 million", 2_500_000),
        ("3.5万", 35_000),
        ("２３", 23),
        (r"\lfloor 3.7 \rfloor", 3),
        ("|−3|", 3),
        (r"\gcd(12, 18)", 6),
    ],
)
def test_values(text: str, value: Fraction | int) -> None:
    assert exact(parse_latex(text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\sin 30^\circ", 0.5),
        (r"\log_2 8", 3),
        (r"\sin^2 1 + \cos^2 1", 1),
        (r"\tan^{-1} 1", 0.7853981633974483),
        ("2e", 5.43656365691809),
    ],
)
def test_functions(text: str, value: float) -> None:
    assert approximate(parse_latex(text), {}) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("(1, 2)", "paren"),
        ("[1, 2)", "paren"),
        (r"\{1, 2\}", "set"),
        ("{1, 2}", "set"),
        ("1, 2", "list"),
        ("1 or 2", "list"),
        ("x = 1", "rel"),
        (r"x \le 1", "rel"),
        ("1 : 2", "ratio"),
        (r"A \cup B", "union"),
        (r"\{x \mid x > 1\}", "builder"),
        (r"\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}", "matrix"),
        (r"\pm 2", "pm"),
        ("5 cm", "quantity"),
        ("5 m/s^2", "quantity"),
        ("$5", "quantity"),
        ("5%", "percent"),
        ("60°", "degree"),
        (r"3 \pmod 5", "residue"),
        (r"\sum_{k=1}^n k", "sum"),
        (r"\int_0^1 x dx", "int"),
        (r"\lim_{x\to 0} x", "lim"),
        ("f(x)", "apply"),
        ("no solution", "text"),
    ],
)
def test_shapes(text: str, op: str) -> None:
    assert parse_latex(text).op == op


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("xy", {"x", "y"}),
        ("v^2_0", {"v_0"}),
        (r"a_{n}", {"a_n"}),
        (r"\alpha_1 x", {"alpha_1", "x"}),
        ("2ab", {"a", "b"}),
        (r"\hbar\omega", {"hbar", "omega"}),
    ],
)
def test_symbols(text: str, names: set[str]) -> None:
    assert free_symbols(parse_latex(text)) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "}",
        r"\frac{1}",
        "1 2",
        "2 3 4",
        "--7",
        "1..2",
        "x +",
        r"\begin{pmatrix}1",
        r"\unknown{3}",
        r"\input{/etc/passwd}",
        "__import__('os')",
        "[c for c in ()]",
        "5 is not the answer",
        "a\x00b",
        r"\sum k",
        "1+apple pie",
    ],
)
def test_what_is_not_mathematics_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_latex(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "1" + ")" * 500,
        "{" * 500 + "1" + "}" * 500,
        "x^" * 500 + "x",
        "-" * 5000 + "1",
        r"\sqrt" * 500 + "2",
        r"\frac{1}{" * 200 + "2" + "}" * 200,
        "9" * 5000,
        "1e99999",
        "1+" * MAX_CHARS + "1",
        "|" * 400,
        r"\sin" * 300 + "x",
    ],
)
def test_bounds(text: str) -> None:
    with pytest.raises(ParseError):
        parse_latex(text)


def test_no_text_becomes_anything_but_plain_data() -> None:
    tree = parse_latex(r"\frac{x+1}{\sqrt{y}} + f(z)")
    assert isinstance(tree, Expr)
    assert operations(tree) == {"add", "div", "sym", "num", "pow", "apply"}


@pytest.mark.parametrize("text", ["x^+ " * 40 + "1", "v^" * 50 + "2_0", "x^{" * 40 + "1" + "}" * 40, r"\frac12" * 3000])
def test_no_text_is_read_over_and_over(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(ParseError):
        parse_latex(text)
    assert time.process_time() - start < 1
