"""Matching of numbers: plain ones without a parser; all others as mathematics.

Integers and years are exact. A decimal gold is as precise as it is written; a decimal prediction of an exact gold
must be its rounding to at least four digits (see `scalars`).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from mmpr_pipeline.checking.reading.number_words import number_from_words
from mmpr_pipeline.checking.values.expression import Expr, number

_PLAIN = re.compile(
    r"(?P<sign>[-+]?)\s?(?:(?P<money>\\?\$|€|£|¥)\s?(?P<sign2>-?))?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,300}(?:\.\d{1,300})?|\.\d{1,300})"
    r"(?:\s?/\s?(?P<bottom>\d{1,300}))?\s?(?P<percent>\\?%)?\.?"
)


@lru_cache(maxsize=8192)
def parse_plain(text: str) -> Expr | None:
    """The tree of a plain number (`-1,234.5`, `$3.20`, `3/4`, `30%`, `twenty-one`); None when it is not one."""
    match = _PLAIN.fullmatch(text.strip())
    if match is None:
        value = number_from_words(text)
        return None if value is None else number(value)
    digits = match["digits"].replace(",", "")
    expr = number(Fraction(digits), digits if "." in digits else "")
    if match["bottom"]:
        expr = Expr("div", (expr, number(int(match["bottom"]))))
    if (match["sign"] == "-") != (match["sign2"] == "-"):
        expr = Expr("neg", (expr,))
    if match["percent"]:
        expr = Expr("percent", (expr,))
    if match["money"]:
        expr = Expr("quantity", (expr,), match["money"].replace("\\", ""))
    return expr
