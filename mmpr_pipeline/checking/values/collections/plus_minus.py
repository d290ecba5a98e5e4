"""What an expression stands for: plus-minus as its two values, a sum of quantities as one quantity."""

from __future__ import annotations

from itertools import product

from mmpr_pipeline.checking.values.expression import Expr, is_membership, operations
from mmpr_pipeline.checking.values.numbers.units import added

MOST_SIGNS = 4


def simplified(expr: Expr) -> Expr:
    """Plus-minus as the two values it stands for, `3 m and 20 cm` as one; statements about parameters taken away."""
    if expr.op == "list":
        kept = [item for item in expr.args if not is_membership(item)]
        if kept and len(kept) < len(expr.args):
            return kept[0] if len(kept) == 1 else expr._replace(args=tuple(kept))
    if expr.op == "list" and expr.value == "and":
        total = added(expr.args)
        if total is not None:
            return total
    if expr.op != "list" and expr.op != "set" and "pm" in operations(expr):
        return Expr("list", (_choose(expr, 1), _choose(expr, -1)), "or")
    return expr


def independent_signs(expr: Expr) -> Expr | None:
    """All points of a tuple with plus-minus in several places, as a list; None for anything else."""
    signed = [arg for arg in expr.args if "pm" in operations(arg)] if expr.op == "paren" else []
    if not 1 < len(signed) <= MOST_SIGNS:
        return None
    options = [(_choose(arg, 1), _choose(arg, -1)) if arg in signed else (arg,) for arg in expr.args]
    return Expr("list", tuple(expr._replace(args=chosen) for chosen in product(*options)))


def _choose(expr: Expr, sign: int) -> Expr:
    if expr.op == "pm":
        inner = _choose(expr.args[0], sign)
        return inner if (sign > 0) == (expr.value == "pm") else Expr("neg", (inner,))
    return expr if expr.op == "num" else expr._replace(args=tuple(_choose(arg, sign) for arg in expr.args))
