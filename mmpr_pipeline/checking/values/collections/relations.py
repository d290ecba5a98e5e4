"""Equations and inequalities: definitions such as `x = 3`, and equality up to rearrangement and a constant factor."""

from __future__ import annotations

import cmath
from collections.abc import Callable

from mmpr_pipeline.checking.values.expression import (
    Context,
    Decision,
    Expr,
    free_symbols,
    operations,
    operators_of,
    rename,
)
from mmpr_pipeline.checking.values.numbers.at_points import points
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import Undecided
from mmpr_pipeline.checking.values.numbers.scalars import compare_scalars

_NAMES = frozenset({"sym", "apply", "text", "paren", "ratio", "func", "const"})
Compare = Callable[[Expr, Expr, Context], Decision]


def is_equation(expr: Expr) -> bool:
    """Whether a relation is made of equality signs alone."""
    return expr.op == "rel" and all(operator == "=" for operator in operators_of(expr))


def _names_something(expr: Expr) -> bool:
    if expr.op == "paren":
        return bool(expr.args) and all(arg.op in ("sym", "apply") for arg in expr.args)
    if expr.op == "mul":  # AB = 5: the length of a segment.
        return all(arg.op == "sym" and str(arg.value).isupper() for arg in expr.args)
    if expr.op == "ratio":
        return not operations(expr) & {"num"}
    if expr.op == "func":
        return expr.value == "abs" and expr.args[0].op in ("sym", "mul") and not operations(expr) & {"num"}
    if expr.op == "const":
        return expr.value in ("e", "i")
    return expr.op in ("sym", "text") or (expr.op == "apply" and not operations(expr) & {"add", "mul"})


def is_definition(expr: Expr) -> bool:
    """Whether a relation names a thing and gives its value: `x = 3`, `f(x) = 2x`, `(x, y) = (1, 2)`, `3 = x`."""
    if not is_equation(expr):
        return False
    first, last = expr.args[0], expr.args[-1]
    if _names_something(first) or (last.op == "sym" and not free_symbols(first)):
        return True
    # `3 + 4 = 7` is one as well: both sides are constants, and they are equal.
    if any(free_symbols(arg) or arg.op in ("text", "rel", "paren", "set", "list", "matrix") for arg in expr.args):
        return False
    return all(compare_scalars(arg, last, Context())[0] for arg in expr.args[:-1])


def definition_value(expr: Expr) -> Expr:
    """What a definition gives: its last side, or its first where it is written backwards."""
    first, last = expr.args[0], expr.args[-1]
    if _names_something(first) or not (last.op == "sym" and not free_symbols(first)):
        return last
    return first


def defined_name(expr: Expr) -> str:
    """What a definition names; '' where it is not one."""
    if not is_definition(expr):
        return ""
    first = expr.args[0] if _names_something(expr.args[0]) else expr.args[-1]
    if first.op == "apply":
        return str(first.value)
    return str(first.value) if first.op in ("sym", "text") else repr(first)


def compare_relations(left: Expr, right: Expr, compare: Compare, context: Context) -> Decision:
    """Two relations: two definitions by name and value, two equations or inequalities up to rearrangement."""
    if is_definition(left) and is_definition(right):
        decision = _compare_definitions(left, right, compare, context)
        if decision[0] is not False:
            return decision
        rearranged = _rearranged(left, right)
        return rearranged if rearranged[0] else decision
    if not (is_equation(left) and is_equation(right)):
        names, gold_names = free_symbols(left), free_symbols(right)
        if len(names) == len(gold_names) == 1 and names != gold_names:
            # An inequality in one symbol, compared with the gold's symbol instead of its own.
            renamed = rename(left, next(iter(names)), next(iter(gold_names)))
            same = compare_relations(renamed, right, compare, context)
            return (None, "other_symbol") if same[0] is not False else same
    solved = _solves(left, right)
    if solved is not None:
        return solved
    if len(left.args) == 2 and len(right.args) == 2:
        return _rearranged(left, right)
    if operators_of(left)[0][0] != operators_of(right)[0][0]:  # `a > b > c` as `c < b < a`
        operators = tuple(_FLIPPED.get(operator, operator) for operator in reversed(operators_of(left)))
        left = Expr("rel", tuple(reversed(left.args)), operators)
    if operators_of(left) != operators_of(right) or len(left.args) != len(right.args):
        return None, "different_relations"
    doubt = False
    for one, other in zip(left.args, right.args, strict=True):
        same_side, rule = compare(one, other, context)
        if same_side is False:
            return False, rule
        doubt = doubt or same_side is None
    return (None, "side_in_doubt") if doubt else (True, "same_sides")


def _compare_definitions(left: Expr, right: Expr, compare: Compare, context: Context) -> Decision:
    value, gold = definition_value(left), definition_value(right)
    same_names = defined_name(left) == defined_name(right)
    if same_names and left.args[0].op == right.args[0].op == "apply" and left.args[0] != right.args[0]:
        # f(n) = n^2 is f(x) = x^2: the variable of a definition is bound.
        ones, others = left.args[0].args, right.args[0].args
        if len(ones) != len(others) or any(arg.op != "sym" for arg in (*ones, *others)):
            return None, "other_argument"
        for index, (one, other) in enumerate(zip(ones, others, strict=True)):
            value = rename(value, str(one.value), f"bound{index}")
            gold = rename(gold, str(other.value), f"bound{index}")
        return compare(value, gold, context)
    decision, rule = compare(value, gold, context)
    both_plain = left.args[0].op == right.args[0].op == "sym" and len(left.args) == len(right.args) == 2
    if decision and not same_names and (both_plain or free_symbols(gold)):
        return None, "other_name"
    return decision, rule


def _solves(left: Expr, right: Expr) -> Decision | None:
    """`y = 1/x` is `xy = 1`: the one, put into the other, makes it hold, and the other has y to the first power."""
    definition, equation = (left, right) if is_definition(left) else (right, left)
    if not (is_definition(definition) and is_equation(equation)) or len(equation.args) != 2 != len(definition.args):
        return None
    name, value = definition.args[0], definition_value(definition)
    if name.op != "sym" or str(name.value) in free_symbols(value) or str(name.value) not in free_symbols(equation):
        return None
    holds = 0
    for point in points((free_symbols(value) | free_symbols(equation)) - {str(name.value)}, 5, signed=True):
        try:
            root = approximate(value, point)
            at = [_difference(equation, {**point, str(name.value): root + step}) for step in (0, 1, 2, 3)]
        except Undecided:
            continue
        scale = max(abs(x) for x in at)
        linear = abs(at[2] - 2 * at[1] + at[0]) + abs(at[3] - 2 * at[2] + at[1])
        if abs(at[0]) > 1e-9 * scale or linear > 1e-9 * scale or scale == 0:
            return None
        holds += 1
    return (True, "solved_form") if holds >= 3 else None


_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_DIRECTION = {"<": 1, "<=": 1, ">": -1, ">=": -1, "=": 0, "!=": 0}


def _rearranged(left: Expr, right: Expr) -> Decision:
    """Whether left-minus-right of one is a constant times that of the other (positive unless the sign turns)."""
    one, other = operators_of(left)[0], operators_of(right)[0]
    if one not in _DIRECTION or other not in _DIRECTION:
        return None, "different_relations"
    if one.strip("<>") != other.strip("<>") or (one == "=") != (other == "="):
        return False, "other_relation"
    if {arg.op for arg in (*left.args, *right.args)} & {"text", "list", "set", "matrix", "paren", "rel", "ratio"}:
        return None, "different_relations"
    ratio = _constant_ratio(left, right)
    if ratio is None:
        return None, "no_value"
    if ratio == 0 or abs(ratio.imag) > 1e-9:
        return False, "other_equation"
    turned = _DIRECTION[one] * _DIRECTION[other]
    if turned and (ratio.real > 0) != (turned > 0):
        return False, "other_direction"
    return True, "rearranged"


def _constant_ratio(left: Expr, right: Expr) -> complex | None:
    """The constant ratio of the two differences; 0 where it is not constant; None where it has no value."""
    names = free_symbols(left) | free_symbols(right)
    ratios: list[complex] = []
    for point in points(names, 6, signed=True):
        try:
            bottom = _difference(right, point)
            top = _difference(left, point)
        except Undecided:
            continue
        if bottom == 0:
            return 0j if top else None
        ratios.append(top / bottom)
        if not cmath.isclose(ratios[-1], ratios[0], rel_tol=1e-8) or abs(ratios[-1]) < 1e-12:
            return 0j
    if len(ratios) < 3 or not names:
        return None
    return ratios[0]


def _difference(relation: Expr, point: dict[str, complex]) -> complex:
    return approximate(relation.args[0], point) - approximate(relation.args[-1], point)
