"""Series and limits that need no computer algebra: short finite series written out, limits by values close by."""

from __future__ import annotations

from typing import Any

from mmpr_pipeline.checking.values.expression import (
    CALCULUS_OPS,
    Decision,
    Expr,
    free_symbols,
    number_leaf,
    operations,
    tree_size,
)
from mmpr_pipeline.checking.values.numbers.evaluate import precise_value
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact

MAX_NODES = 20_000  # Size that a series may have when it is written out.
_DIGITS = 260
_NEAR = (14, 16)  # A limit is looked at 10^-14 and 10^-16 away, on both sides.


class TooLong(Exception):
    """A finite series with too many terms to write out."""


def written_out(expr: Expr, room: int = MAX_NODES) -> Expr:
    """The tree with each finite series of whole bounds as a plain sum or product, of at most `room` nodes.

    Raises TooLong.
    """
    if not operations(expr) & {"sum", "prod"}:
        return expr
    bounds = _whole_bounds(expr)
    if bounds is None:
        return expr._replace(args=tuple(written_out(arg, room) for arg in expr.args))
    name, body, count = str(expr.args[0].value), expr.args[3], bounds[1] - bounds[0] + 1
    if count * tree_size(body) > room:
        raise TooLong
    terms = (with_value(body, name, number_leaf(k)) for k in range(bounds[0], bounds[1] + 1))
    return Expr("add" if expr.op == "sum" else "mul", tuple(written_out(term, room // count) for term in terms))


def _whole_bounds(expr: Expr) -> tuple[int, int] | None:
    """First and last index of a finite series; None for anything else."""
    if expr.op not in ("sum", "prod") or expr.args[0].op != "sym":
        return None
    try:
        start, stop = exact(expr.args[1]), exact(expr.args[2])
    except (NotRational, Undecided):
        return None
    whole = start.denominator == stop.denominator == 1 and stop >= start
    return (int(start), int(stop)) if whole else None


def with_value(expr: Expr, name: str, value: Expr) -> Expr:
    """The tree with a symbol replaced by a value."""
    if expr.op == "sym":
        return value if expr.value == name else expr
    return expr if expr.op == "num" else expr._replace(args=tuple(with_value(arg, name, value) for arg in expr.args))


def compare_limit(left: Expr, right: Expr) -> Decision:
    """A limit at a finite point against a constant: by values close by, where they settle; None where they do not."""
    limit, other = (left, right) if left.op == "lim" else (right, left)
    if limit.op != "lim" or operations(other) & CALCULUS_OPS or free_symbols(other):
        return None, "calculus"
    import mpmath

    context = mpmath.mp.clone()
    context.dps = _DIGITS
    try:
        # Values of the limit's body on both sides of its point. Raises Undecided and what mpmath raises.
        variable, target, body = limit.args
        if variable.op != "sym" or operations(body) & CALCULUS_OPS or free_symbols(body) - {str(variable.value)}:
            raise Undecided("not a plain limit")
        if tree_size(body) > 400:
            raise Undecided("too large")
        point = exact(target)
        steps = [number_leaf(point + sign * exact_power_of_ten(-k)) for sign in (1, -1) for k in _NEAR]
        near = [precise_value(with_value(body, str(variable.value), step), context) for step in steps]
        gold = precise_value(other, context)
    except (ArithmeticError, ValueError, TypeError, NotRational, Undecided, NotImplementedError):
        return None, "calculus"
    scale = max(1, abs(near[0]))
    if max(abs(value - near[0]) for value in near) > scale * context.mpf(10) ** -12:
        return None, "calculus"
    gap = abs(near[0] - gold)
    if gap <= scale * context.mpf(10) ** -11:
        return True, "limit_by_values"
    return (False, "limit_by_values") if gap > scale * context.mpf(10) ** -6 else (None, "calculus")


def exact_power_of_ten(power: int) -> Any:
    """10 to a whole power as a fraction."""
    return exact(Expr("pow", (number_leaf(10), number_leaf(power))))
