"""Lists and sets compared: what their members are, and whether order or names matter.

Plus-minus stands for two values, a sum of quantities for one quantity.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from mmpr_pipeline.checking.values.collections.real_sets import same_set
from mmpr_pipeline.checking.values.collections.relations import (
    defined_name,
    definition_value,
    is_definition,
    is_equation,
)
from mmpr_pipeline.checking.values.collections.tuples import (
    Decide,
    all_of,
    in_order_only,
    match_unordered,
    members_in_order,
)
from mmpr_pipeline.checking.values.expression import Context, Decision, Expr, is_membership, operations, operators_of
from mmpr_pipeline.checking.values.numbers.units import added


def compare_sets(left: Expr, right: Expr, context: Context) -> Decision:
    """Two sets of real numbers, given as intervals, unions, inequalities or members."""
    same = same_set(left, right, context)
    if same is None:
        return None, "different_shapes"
    return same, "same_set" if same else "other_set"


def compare_collections(left: Expr, right: Expr, context: Context, decide: Decide) -> Decision:
    """Lists and sets, with what may stand for them: `x = 1, y = 2`, a point, plus-minus, a chain of inequalities."""
    sets = compare_sets(left, right, context) if _inequalities(left) or _inequalities(right) else (None, "")
    if sets[0] is not None:
        return sets
    ones, others = members_of(left), members_of(right)
    ones, others = _opened(ones, left, others), _opened(others, right, ones)
    if (left.op == "set" and right.op == "paren") or (left.op == "paren" and right.op == "set"):
        return None, "set_or_interval"
    if len(ones) == 1 and ones[0].op == "paren" and len(others) > 1 and others[0].op != "paren":
        decision = in_order_only(list(ones[0].args), _bare(others), decide)
        return _unless_interval(decision, ones[0], left, _labels(others), context)
    if len(others) == 1 and others[0].op == "paren" and len(ones) > 1 and ones[0].op != "paren":
        decision = in_order_only(_bare(ones), list(others[0].args), decide)
        return _unless_interval(decision, others[0], right, _labels(ones), context)
    named = {defined_name(item): definition_value(item) for item in ones if is_definition(item)}
    gold_named = {defined_name(item): definition_value(item) for item in others if is_definition(item)}
    if len(named) == len(ones) == len(gold_named) == len(others) and named.keys() == gold_named.keys():
        # `a=1, b=2` against `b=2, a=1`: both name the same ones, each once.
        return all_of([decide(named[name], gold_named[name]) for name in named], "same_by_name")
    if _labels(ones) and _labels(others):
        decision = members_in_order(_bare(ones), _bare(others), decide, "")
        return (None, "other_names") if decision[0] is not False else decision
    if _labels(ones) or _labels(others):
        return in_order_only(_bare(ones), _bare(others), decide)
    decision = match_unordered(_bare(ones), _bare(others), decide)
    if decision == (None, "repeated_member") and left.value == "or" and len(others) == 1:
        return True, "same_answer_in_two_forms"  # `0.25, or 1/4`
    return decision


def _unless_interval(decision: Decision, bracketed: Expr, whole: Expr, labelled: bool, context: Context) -> Decision:
    """`2, 3` is the point (2, 3), not the interval: two numbers in round brackets are in doubt unless it is said."""
    if not decision[0]:
        return decision
    if bracketed.value not in ("()", "[]"):
        return False, "interval_and_list"
    said = len(bracketed.args) > 2 or whole is not bracketed or labelled or context.asks_point()
    return decision if said or bracketed.value == "[]" else (None, "point_or_interval")


def members_of(expr: Expr) -> list[Expr]:
    """The members of a collection: lists within are opened, plus-minus expanded, tuple assignments read."""
    expr = simplified(expr)
    if expr.op in ("list", "set"):
        return [member for item in expr.args if not is_membership(item) for member in members_of(item)]
    if expr.op == "rel" and is_definition(expr) and expr.args[0].op == "paren" and expr.args[0].args:
        value = definition_value(expr)
        if value.op == "paren" and len(value.args) == len(expr.args[0].args) and expr.args[0].args[0].op == "apply":
            pairs = zip(expr.args[0].args, value.args, strict=True)
            return [Expr("rel", (name, item), ("=",)) for name, item in pairs]
        return members_of(value) if value.op in ("list", "set") else [value]
    if expr.op == "rel" and is_definition(expr) and definition_value(expr).op in ("list", "set"):
        return members_of(definition_value(expr))
    if expr.op == "rel" and operators_of(expr) == ("in",) and expr.args[1].op == "set":
        return members_of(expr.args[1])
    return [expr]


def _opened(items: list[Expr], whole: Expr, others: Sequence[Expr]) -> list[Expr]:
    """`(x, y) = (5, 6)` as `x = 5, y = 6`, where the other side names its values one by one."""
    if whole.op != "rel" or not _labels(others) or len(items) != 1 or items[0].op != "paren":
        return items
    names = whole.args[0]
    if names.op != "paren" or len(names.args) != len(items[0].args):
        return items
    return [Expr("rel", (name, item), ("=",)) for name, item in zip(names.args, items[0].args, strict=True)]


def _inequalities(expr: Expr) -> bool:
    if expr.op in ("union", "setminus", "intersect", "builder"):
        return True
    if expr.op == "rel":
        return not is_equation(expr)
    return expr.op in ("list", "set") and any(_inequalities(arg) for arg in expr.args)


def _labels(items: Sequence[Expr]) -> bool:
    """Whether items are labelled with two or more different names, so that their order or names matter."""
    names = {defined_name(item) for item in items if is_definition(item)}
    return len(names) > 1 and len(names) == len(items)


def _bare(items: Sequence[Expr]) -> list[Expr]:
    return [definition_value(item) if is_definition(item) else item for item in items]


# ---- plus-minus

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
