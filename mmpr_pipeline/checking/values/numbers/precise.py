"""Fifty digits for constants that agree as floats: 262537412640768744 is not e^(pi sqrt(163))."""

from __future__ import annotations

from typing import Any

from mmpr_pipeline.checking.values.expression import Expr
from mmpr_pipeline.checking.values.numbers.evaluate import magnitude
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact

DIGITS = 50
_MAX_EXPONENT = 100_000


def same_to_fifty_digits(left: Expr, right: Expr) -> bool | None:
    """Whether two constant trees agree to fifty digits; None when one of them cannot be worked out."""
    import mpmath  # Imported here: most answers never need it.

    context = mpmath.mp.clone()  # A context of our own: threads must not share the precision.
    context.dps = DIGITS + 15
    try:
        one, other = precise_value(left, context), precise_value(right, context)
        scale = max(magnitude(left, {}), magnitude(right, {}))
        return bool(abs(one - other) <= scale * context.mpf(10) ** -DIGITS)
    except (ArithmeticError, ValueError, TypeError, NotRational, Undecided, NotImplementedError):
        return None


def precise_value(expr: Expr, mp: Any) -> Any:
    """The value of a constant tree in an mpmath context. Raises Undecided, NotRational and what mpmath raises."""
    op, args = expr.op, expr.args
    if op == "num":
        return mp.mpf(expr.value.numerator) / expr.value.denominator  # type: ignore[attr-defined]
    if op == "const":
        return {"pi": mp.pi, "e": mp.e, "i": mp.j}[str(expr.value)] * 1
    if op == "add":
        return sum((precise_value(arg, mp) for arg in args), mp.mpf(0))
    if op == "neg":
        return -precise_value(args[0], mp)
    if op == "mul":
        product = mp.mpf(1)
        for arg in args:
            product *= precise_value(arg, mp)
        return product
    if op == "div":
        return precise_value(args[0], mp) / precise_value(args[1], mp)
    if op == "pow":
        base = args[0]
        exponent = args[1]
        value, power = precise_value(base, mp), precise_value(exponent, mp)
        if abs(power) > _MAX_EXPONENT:
            raise Undecided("too large")
        try:
            ratio = exact(exponent)
        except (NotRational, Undecided):
            return value**power
        if ratio.denominator % 2 == 1 and ratio.denominator > 1 and mp.im(value) == 0 and mp.re(value) < 0:
            root = (-value) ** power
            return -root if ratio.numerator % 2 else root
        return value**power
    if op == "degree":
        return precise_value(args[0], mp) * mp.pi / 180
    if op == "percent":
        return precise_value(args[0], mp) / 100
    if op == "func" and len(args) == 1:
        name = str(expr.value)
        value = precise_value(args[0], mp)
        if abs(value) > _MAX_EXPONENT and name in ("exp", "sinh", "cosh"):
            raise Undecided("too large")
        if name in ("floor", "ceil", "sgn", "det", "arg"):
            raise NotRational
        return getattr(mp, {"abs": "fabs"}.get(name, name))(value) if name != "log" else mp.log(value, 10)
    exact_value = exact(expr)
    return mp.mpf(exact_value.numerator) / exact_value.denominator
