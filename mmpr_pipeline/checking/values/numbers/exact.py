"""Exact values of rational trees, within bounds on the size of every intermediate result."""

from __future__ import annotations

import math
from fractions import Fraction

from mmpr_pipeline.checking.values.expression import Expr

MAX_BITS = 60_000  # Size of an exact result; 2006! has 19,000 bits.
MAX_FACTORIAL = 3_000


class Undecided(Exception):
    """The tree has no number that we can work out within bounds (too large, undefined, or not elementary)."""


class NotRational(Exception):
    """The tree is not made of rational operations alone."""


def rational(expr: Expr) -> Fraction:
    """The value of a `num` leaf."""
    if not isinstance(expr.value, Fraction):
        raise NotRational
    return expr.value


def exact(expr: Expr) -> Fraction:
    """The rational value of a constant tree. Raises NotRational or Undecided."""
    op = expr.op
    if op == "num":
        return rational(expr)
    if op == "add":
        total = Fraction(0)
        for arg in expr.args:
            total = _bounded(total + exact(arg))
        return total
    if op == "neg":
        return -exact(expr.args[0])
    if op == "mul":
        product = Fraction(1)
        for arg in expr.args:
            product = _bounded(product * exact(arg))
        return product
    if op == "div":
        bottom = exact(expr.args[1])
        if bottom == 0:
            raise Undecided("division by zero")
        return _bounded(exact(expr.args[0]) / bottom)
    if op == "pow":
        return _exact_power(exact(expr.args[0]), exact(expr.args[1]))
    if op == "percent":
        return exact(expr.args[0]) / 100
    if op == "fact":
        return Fraction(math.factorial(_small_natural(exact(expr.args[0]))))
    if op == "binom":
        return Fraction(math.comb(*(_small_natural(exact(arg)) for arg in expr.args)))
    if op == "base":
        digits, base = str(expr.args[0].value), str(expr.value).lower().removeprefix("base").strip()
        if expr.args[0].op != "num" or not base.isdigit() or not 2 <= int(base) <= 36:
            raise NotRational
        try:
            return Fraction(int(digits, int(base)))
        except ValueError as error:
            raise NotRational from error
    if op == "func":
        return _exact_function(str(expr.value), [exact(arg) for arg in expr.args])
    raise NotRational


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise Undecided("too large")
    return value


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        # A root that comes out even; others are not rational.
        degree = exponent.denominator
        if base < 0 or degree > 64 or abs(exponent.numerator) > 64:
            raise NotRational
        top, bottom = _integer_root(base.numerator, degree), _integer_root(base.denominator, degree)
        if top is None or bottom is None:
            raise NotRational
        return _exact_power(Fraction(top, bottom), Fraction(exponent.numerator))
    power = exponent.numerator
    if base in (0, 1, -1):
        if base == 0 and power <= 0:
            raise Undecided("zero to a power")
        return base ** (power % 2 if base == -1 else min(abs(power), 1))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(power) * bits > MAX_BITS:
        raise Undecided("too large")
    return base**power


def _integer_root(value: int, degree: int) -> int | None:
    if value < 2:
        return value
    if value.bit_length() > 2_000:
        return None
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low if low**degree == value else None


def _small_natural(value: Fraction) -> int:
    if value.denominator != 1 or not 0 <= value <= MAX_FACTORIAL:
        raise Undecided("factorial")
    return value.numerator


def _exact_function(name: str, args: list[Fraction]) -> Fraction:
    if name == "abs" and len(args) == 1:
        return abs(args[0])
    if name in ("floor", "ceil") and len(args) == 1:
        return Fraction(math.floor(args[0]) if name == "floor" else math.ceil(args[0]))
    if name in ("max", "min") and args:
        return max(args) if name == "max" else min(args)
    if name in ("gcd", "lcm") and all(a.denominator == 1 for a in args) and args:
        return Fraction((math.gcd if name == "gcd" else math.lcm)(*(a.numerator for a in args)))
    raise NotRational
