"""Are two constants one? Exactly, by fifty digits, or as one is the other rounded to what is stated.

Integers and years are exact. A decimal gold is as precise as it is written. A decimal prediction of an exact gold must
be its rounding to four digits or more (two, where the question asks for rounding); fewer leave it in doubt.
"""

from __future__ import annotations

import math
from fractions import Fraction

from mmpr_pipeline.checking.values.expression import Context, Decision, Expr, children, literal_of
from mmpr_pipeline.checking.values.numbers.evaluate import approximate, same_to_fifty_digits, same_value
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact


def stated(expr: Expr) -> tuple[Fraction, int] | None:
    """Worth of the last digit and number of significant digits of a decimal literal; None for an exact value."""
    literal = literal_of(expr)
    if literal:
        mantissa, _, exponent = literal.lower().partition("e")
        decimals = len(mantissa.partition(".")[2])
        significant = len(mantissa.replace(".", "").lstrip("0"))
        return Fraction(10) ** (int(exponent or 0) - decimals), significant
    if expr.op in ("neg", "percent"):
        inner = stated(expr.args[0])
        return inner and (inner[0] / (100 if expr.op == "percent" else 1), inner[1])
    if expr.op == "mul" and len(expr.args) == 2 and stated(expr.args[0]):
        inner = stated(expr.args[0])
        try:
            return inner and (inner[0] * abs(exact(expr.args[1])), inner[1])
        except (NotRational, Undecided):
            return None
    return None


def compare_constants(left: Expr, right: Expr, context: Context) -> Decision:
    """Two constants: exactly, within the stated precision, or as one rounds to the other's digits."""
    if (left.op == "base") != (right.op == "base"):
        # `2220` beside `2220_3`: the base is left out where the question names it; else it is in doubt.
        bare, based = (right, left) if left.op == "base" else (left, right)
        same = bare.op == "num" and bare.value == based.args[0].value
        return (True, "base_of_the_question") if same and context.asks_base() else (None, "other_base")
    if left.op == right.op == "base" and left.value != right.value and context.asks_base():
        return False, "other_base"  # to be written in a base: the same number in another one is no answer
    if _infinite(left) or _infinite(right):
        same = _infinite(left) == _infinite(right)
        return same, "infinity" if same else "other_value"
    try:
        one, other = exact(left), exact(right)
    except NotRational:
        return _compare_floats(left, right, context)
    except Undecided as error:
        return None, f"too_large_or_undefined:{error}"
    if one == other:
        return True, "same_number"
    return _compare_rounded(one, other, left, right, context)


def _compare_floats(left: Expr, right: Expr, context: Context) -> Decision:
    try:
        one, other = approximate(left, {}), approximate(right, {})
    except Undecided as error:
        return None, f"too_large_or_undefined:{error}"
    if same_value(left, right, {}, 1e-12) or (_close(one, other, 1e-7) and not (stated(left) or stated(right))):
        same = same_to_fifty_digits(left, right)
        if same or (same is False and min(decimal_digits(left), decimal_digits(right)) == 99):
            return same, "same_value" if same else "other_value"
    if abs(one.imag) > 1e-12 or abs(other.imag) > 1e-12:
        if _close(one, other, 1e-12):
            return True, "same_value"
        digits = min(decimal_digits(left), decimal_digits(right))
        same = 4 <= digits < 99 and _close(one, other, 0.5 * 10 ** (1 - digits))
        return same, "same_to_stated_digits" if same else "other_value"
    return _compare_rounded(Fraction(one.real), Fraction(other.real), left, right, context)


def _close(one: complex, other: complex, tolerance: float) -> bool:
    return abs(one - other) <= tolerance * max(abs(one), abs(other), 1e-300)


_FLOAT_DIGITS = 14
"""Digits of a decimal that a program has printed: the last ones are the noise of its arithmetic."""


def _compare_rounded(one: Fraction, other: Fraction, left: Expr, right: Expr, context: Context) -> Decision:
    """Values that differ: may one still be the other, rounded as it should be?"""
    difference = abs(one - other)
    if context.precision is not None:
        within = difference <= tolerance_of(context.precision)
        return within, "stated_precision" if within else "other_value"
    gold, prediction = stated(right), stated(left)
    digits = max((side[1] for side in (gold, prediction) if side), default=0)
    if digits >= _FLOAT_DIGITS and difference <= Fraction(1, 10**11) * abs(other):
        return True, "same_float"
    if other.denominator == 1 and not gold:
        return False, "other_value"
    if gold and not (prediction and prediction[0] >= gold[0]):
        decision, rule = _finer_prediction(one, other, gold, prediction is None)
        if decision is False and prediction is None and one.denominator == 1:
            if one.denominator == 1 and difference <= Fraction(1, 2) and abs(one) >= 100:
                return None, "rounded_to_integer"
            return False, "other_value"
        certain = gold[1] >= 3 or context.asks_rounding()
        return (None, "rounds_to_few_digits") if decision and not certain else (decision, rule)
    if prediction is None:
        return False, "other_value"
    # The prediction is a decimal, the gold finer or exact: the prediction must be the gold rounded or truncated.
    gold_decimal = bool(gold)
    last, significant = prediction
    difference = other - one
    rounded = abs(difference) <= last / 2
    truncated = 0 <= (difference if other > 0 else -difference) < last
    if not rounded and not (truncated and significant >= 4 and not gold_decimal):
        return False, "other_value"
    if not gold_decimal and context.asks_exact():
        return None, "rounded_where_exact_is_asked"
    if significant >= (3 if gold_decimal else 4) or (context.asks_rounding() and significant >= 2):
        return True, "rounds_gold"
    return None, "rounded_too_far"


def tolerance_of(precision: float) -> Fraction:
    """A small whole number is a number of decimals; anything else is an absolute tolerance (OlympiadBench)."""
    if float(precision).is_integer() and 0 <= precision <= 15:
        return Fraction(1, 2 * 10 ** int(precision)) * Fraction(1_000_001, 1_000_000)
    return Fraction(precision) * Fraction(101, 100)


def _finer_prediction(one: Fraction, other: Fraction, gold: tuple[Fraction, int], exact_prediction: bool) -> Decision:
    """The gold is a decimal, the prediction more exact: it must round to the gold (an exact one may be truncated)."""
    last, significant = gold
    difference = one - other
    if abs(difference) <= last / 2:
        return True, "rounds_to_gold"
    if exact_prediction and 0 <= (difference if other > 0 else -difference) < last and significant >= 4:
        return True, "truncates_to_gold"
    return False, "other_value"


def decimal_digits(expr: Expr) -> int:
    """Significant digits of the least precise decimal in a tree; 99 when there is none."""
    literal = literal_of(expr)
    if literal:
        return len(literal.lower().partition("e")[0].replace(".", "").lstrip("0"))
    return min((decimal_digits(arg) for arg in children(expr)), default=99)


def _infinite(expr: Expr) -> int:
    """1 for infinity, -1 for minus infinity, 0 for anything else."""
    if expr.op == "neg":
        return -_infinite(expr.args[0])
    return int(expr.op == "const" and expr.value == "inf")


def float_of(expr: Expr) -> float:
    """The real value of a constant tree. Raises Undecided."""
    if expr == Expr("const", (), "inf"):
        return math.inf
    if expr == Expr("neg", (Expr("const", (), "inf"),)):
        return -math.inf
    value = approximate(expr, {})
    if abs(value.imag) > 1e-9:
        raise Undecided("not real")
    return value.real


def mentions_pi(expr: Expr) -> bool:
    """Whether pi occurs in a tree."""
    return (expr.op == "const" and expr.value == "pi") or any(mentions_pi(arg) for arg in children(expr))
