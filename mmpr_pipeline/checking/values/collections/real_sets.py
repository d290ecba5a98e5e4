"""Sets of real numbers, however they are written: intervals, inequalities, unions, set-builders, single points."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from mmpr_pipeline.checking.values.expression import (
    Context,
    Expr,
    free_symbols,
    is_membership,
    number_leaf,
    operators_of,
)
from mmpr_pipeline.checking.values.numbers.constants import float_of
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import Undecided
from mmpr_pipeline.checking.values.numbers.scalars import compare_scalars

_INF = Expr("const", (), "inf")
_MINUS_INF = Expr("neg", (_INF,))
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


class NotASet(Exception):
    """The tree is not a set of real numbers that we can read."""


class RealInterval(NamedTuple):
    """One interval; a point is closed with both ends the same."""

    low: Expr
    low_closed: bool
    high: Expr
    high_closed: bool


def intervals_of(expr: Expr) -> list[RealInterval]:
    """The set as disjoint pieces in order. Raises NotASet or Undecided."""
    return _merged(_pieces(expr))


def _pieces(expr: Expr) -> list[RealInterval]:
    op, args = expr.op, expr.args
    if op == "paren" and len(args) == 2:
        return [RealInterval(args[0], str(expr.value)[0] == "[", args[1], str(expr.value)[1] == "]")]
    if op == "union":
        return _pieces(args[0]) + _pieces(args[1])
    if op == "intersect":
        return _intersected(_merged(_pieces(args[0])), _merged(_pieces(args[1])))
    if op == "setminus" or (op == "add" and len(args) == 2 and args[1].op == "neg" and args[1].args[0].op == "set"):
        removed = args[1].args[0] if op == "add" else args[1]
        return _intersected(_merged(_pieces(args[0])), _complement(_merged(_pieces(removed))))
    if op == "set":
        return [RealInterval(arg, True, arg, True) for arg in args]
    if op == "builder":
        conditions = [c for c in expr.args[1].args if not is_membership(c)]
        if not conditions or len(expr.args[0].args) != 1:
            raise NotASet
        return _several(Expr("list", tuple(conditions), expr.args[1].value))
    if op == "const" and expr.value == "set_R":
        return [RealInterval(_MINUS_INF, False, _INF, False)]
    if op == "rel":
        operators = operators_of(expr)
        if operators == ("in",) and expr.args[0].op == "sym":
            return _pieces(expr.args[1])
        result: list[RealInterval] | None = None
        for left, operator, right in zip(expr.args, operators, expr.args[1:], strict=False):
            part = _one_relation(left, operator, right)
            result = part if result is None else _intersected(result, part)
        if result is None:
            raise NotASet
        return result
    if op == "list":
        return _several(expr)
    raise NotASet


def _several(expr: Expr) -> list[RealInterval]:
    """Conditions joined: `or` unites; `and` or a comma intersects, unless nothing would be left."""
    parts = [_merged(_pieces(arg)) for arg in expr.args if arg.op in ("rel", "union", "paren", "set")]
    if len(parts) != len(expr.args) or not parts or any(arg.op == "paren" for arg in expr.args):
        raise NotASet
    if expr.value != "or":
        common = parts[0]
        for part in parts[1:]:
            common = _intersected(common, part)
        if common:
            return common
    return [piece for part in parts for piece in part]


def _one_relation(left: Expr, operator: str, right: Expr) -> list[RealInterval]:
    if operator not in _FLIPPED:
        raise NotASet
    if right.op == "func" and right.value == "abs" and not free_symbols(left):
        left, operator, right = right, _FLIPPED[operator], left
    if left.op == "func" and left.value == "abs" and free_symbols(left) and not free_symbols(right):
        return _absolute(left.args[0], operator, right)
    if right.op == "sym" and not free_symbols(left):
        left, operator, right = right, _FLIPPED[operator], left
    if left.op != "sym" or free_symbols(right):
        # A linear inequality in one symbol, solved for it.
        names = free_symbols(left) | free_symbols(right)
        if len(names) != 1:
            raise NotASet
        name = next(iter(names))
        difference = Expr("add", (left, Expr("neg", (right,))))
        at_zero, at_one, at_five = (approximate(difference, {name: complex(x)}).real for x in (0, 1, 5))
        slope = at_one - at_zero
        if slope == 0 or not math.isclose(at_five, at_zero + 5 * slope, rel_tol=1e-9, abs_tol=1e-9):
            raise NotASet
        root = number_leaf(Fraction(-at_zero / slope).limit_denominator(10**7))
        left, operator, right = (Expr("sym", (), name), operator if slope > 0 else _FLIPPED[operator], root)
    return {
        "<": [RealInterval(_MINUS_INF, False, right, False)],
        "<=": [RealInterval(_MINUS_INF, False, right, True)],
        ">": [RealInterval(right, False, _INF, False)],
        ">=": [RealInterval(right, True, _INF, False)],
        "=": [RealInterval(right, True, right, True)],
        "!=": [RealInterval(_MINUS_INF, False, right, False), RealInterval(right, False, _INF, False)],
    }[operator]


def _absolute(inner: Expr, operator: str, bound: Expr) -> list[RealInterval]:
    """`|x - 1| < 2` as the interval between the two bounds; `>` as what lies outside of them."""
    other = Expr("neg", (bound,))
    if operator == "!=":
        return _complement(_merged(_absolute(inner, "=", bound)))
    if float_of(bound) < 0:
        return [] if operator in ("<", "<=", "=") else [RealInterval(_MINUS_INF, False, _INF, False)]
    ones, others = _one_relation(inner, operator, bound), _one_relation(inner, _FLIPPED[operator], other)
    return _intersected(_merged(ones), _merged(others)) if operator in ("<", "<=") else ones + others


def _merged(pieces: list[RealInterval]) -> list[RealInterval]:
    """Sorted by value, overlapping or touching pieces joined, empty ones dropped. Raises Undecided for symbols."""
    result: list[RealInterval] = []
    for piece in sorted(pieces, key=lambda p: (float_of(p.low), not p.low_closed)):
        low, high = float_of(piece.low), float_of(piece.high)
        if low > high or (low == high and not (piece.low_closed and piece.high_closed)):
            continue
        end, closed = (float_of(result[-1].high), result[-1].high_closed) if result else (-math.inf, False)
        touching = math.isclose(low, end, rel_tol=1e-12) and (closed or piece.low_closed)
        if not result or not (low < end or touching):
            result.append(piece)
        elif not (end > high or (end == high and closed)):
            result[-1] = result[-1]._replace(high=piece.high, high_closed=piece.high_closed)
    return result


def _intersected(first: list[RealInterval], second: list[RealInterval]) -> list[RealInterval]:
    result = []
    for one in first:
        for two in second:
            low = max((one, two), key=lambda p: (float_of(p.low), not p.low_closed))
            high = min((one, two), key=lambda p: (float_of(p.high), p.high_closed))
            result.append(RealInterval(low.low, low.low_closed, high.high, high.high_closed))
    return _merged(result)


def _complement(pieces: list[RealInterval]) -> list[RealInterval]:
    result, low, closed = [], _MINUS_INF, False
    for piece in pieces:
        result.append(RealInterval(low, closed, piece.low, not piece.low_closed))
        low, closed = piece.high, not piece.high_closed
    result.append(RealInterval(low, closed, _INF, False))
    return _merged(result)


def same_set(left: Expr, right: Expr, context: Context) -> bool | None:
    """Whether two trees are the same set of reals; None when one of them is not a set that we read."""
    try:
        ones, others = intervals_of(left), intervals_of(right)
    except (NotASet, Undecided):
        return None
    if len(ones) != len(others):
        return False
    verdict: bool | None = True
    for one, other in zip(ones, others, strict=True):
        if (one.low_closed, one.high_closed) != (other.low_closed, other.high_closed):
            return False
        for end, gold_end in ((one.low, other.low), (one.high, other.high)):
            decision = _same_end(end, gold_end, context)
            if decision is False:
                return False
            verdict = None if decision is None else verdict
    return verdict


def _same_end(left: Expr, right: Expr, context: Context) -> bool | None:
    try:
        if math.isinf(float_of(left)) or math.isinf(float_of(right)):
            return float_of(left) == float_of(right)
    except Undecided:
        return None
    return compare_scalars(left, right, context)[0]
