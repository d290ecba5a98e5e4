"""Are two trees one answer? Structures here (lists, tuples, sets, matrices, equations); scalars in `scalars`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from mmpr_pipeline.checking.context import Context, Decision
from mmpr_pipeline.checking.exact import NotRational, Undecided, exact
from mmpr_pipeline.checking.expression import SCALAR_OPS, Expr, free_symbols, operations, operators_of, substituted
from mmpr_pipeline.checking.math_words import is_membership
from mmpr_pipeline.checking.matrices import rows_of
from mmpr_pipeline.checking.members import Decide, all_of, in_order, in_order_only, match_unordered
from mmpr_pipeline.checking.real_sets import same_set
from mmpr_pipeline.checking.relations import (
    compare_relations,
    defined_name,
    definition_value,
    is_definition,
    is_equation,
)
from mmpr_pipeline.checking.scalars import compare_scalars
from mmpr_pipeline.checking.unit import added

_SETS = frozenset({"union", "intersect", "setminus", "builder", "rel", "set", "paren", "list", "add", "const"})


def compare(left: Expr, right: Expr, context: Context) -> Decision:
    """Decide whether the prediction `left` is the gold `right`; None is in doubt."""
    if left == right:
        return True, "same_tree"
    signed = _independent(left), _independent(right)
    left, right = _simplified(left), _simplified(right)
    if any(signed):
        one, other = signed[0] or left, signed[1] or right
        return (True, "independent_signs") if _compare_collections(one, other, context)[0] else (None, "signs")
    if left == right:
        return True, "same_tree"
    if left.op == "text" or right.op == "text":
        return _compare_texts(left, right)
    if left.op == "rel" or right.op == "rel":
        return _compare_with_relation(left, right, context)
    if left.op in ("list", "set") or right.op in ("list", "set"):
        return _compare_collections(left, right, context)
    if left.op == "residue" or right.op == "residue":
        return _compare_residues(left, right, context)
    if (
        left.op in _SETS
        and right.op in _SETS
        and {left.op, right.op} & {"union", "intersect", "setminus", "builder", "const"}
    ):
        return _as_sets(left, right, context)
    if left.op == "matrix" or right.op == "matrix" or "matrix" in operations(left) | operations(right):
        return _compare_matrices(left, right, context)
    if left.op == "paren" or right.op == "paren":
        return _compare_tuples(left, right, context)
    if left.op == "ratio" or right.op == "ratio":
        return _compare_ratios(left, right, context)
    if left.op in SCALAR_OPS and right.op in SCALAR_OPS:
        return compare_scalars(left, right, context)
    return None, "different_shapes"


def decider(context: Context) -> Decide:
    """`compare` with its context given."""
    return lambda left, right: compare(left, right, context)


def _simplified(expr: Expr) -> Expr:
    """Plus-minus as the two values it stands for; statements about parameters taken away."""
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


MOST_SIGNS = 4


def _independent(expr: Expr) -> Expr | None:
    """All points of a tuple with plus-minus in several places, as a list; None for anything else."""
    signed = [arg for arg in expr.args if "pm" in operations(arg)] if expr.op == "paren" else []
    if not 1 < len(signed) <= MOST_SIGNS:
        return None
    options = [(_choose(arg, 1), _choose(arg, -1)) if arg in signed else (arg,) for arg in expr.args]
    return Expr("list", tuple(expr._replace(args=chosen) for chosen in product(*options)))


def _compare_residues(left: Expr, right: Expr, context: Context) -> Decision:
    """Residues of one modulus are equal where they differ by a multiple of it; a bare number must be the residue."""
    if left.op != "residue" or right.op != "residue":
        value = left.args[0] if left.op == "residue" else left
        gold = right.args[0] if right.op == "residue" else right
        decision, rule = compare(value, gold, context)
        return (True, rule) if decision else (None, "residue_and_number")
    try:
        one, modulus, other, gold_modulus = (exact(arg) for arg in (*left.args, *right.args))
    except (NotRational, Undecided):
        return None, "residue"
    same = modulus == gold_modulus != 0 and (one - other) % modulus == 0
    return same, "same_residue" if same else "other_residue"


def _choose(expr: Expr, sign: int) -> Expr:
    if expr.op == "pm":
        inner = _choose(expr.args[0], sign)
        return inner if (sign > 0) == (expr.value == "pm") else Expr("neg", (inner,))
    return expr if expr.op == "num" else expr._replace(args=tuple(_choose(arg, sign) for arg in expr.args))


def compare_words(left: str, right: str) -> Decision:
    """Two texts that differ: another single word is another answer; phrases may mean the same."""
    ones, others = left.lower().split(), right.lower().split()
    if len(ones) == len(others) == 1 and ones[0][:4] != others[0][:4]:
        return False, "other_text"
    return None, "other_words"


def _compare_texts(left: Expr, right: Expr) -> Decision:
    if left.op == right.op == "text":
        same = str(left.value).lower().split() == str(right.value).lower().split()
        return compare_words(str(left.value), str(right.value)) if not same else (True, "same_text")
    return None, "text_and_mathematics"


# --- relations ------------------------------------------------------------------------------------------------------
def _compare_with_relation(left: Expr, right: Expr, context: Context) -> Decision:
    if left.op == "rel" and right.op == "rel":
        decision = compare_relations(left, right, compare, context)
        as_sets = decision[0] is None and decision[1] != "other_symbol" and not is_equation(left)
        return _as_sets(left, right, context) if as_sets else decision
    relation, other = (left, right) if left.op == "rel" else (right, left)
    if is_definition(relation):
        value = definition_value(relation)
        names = relation.args[0]
        if names.op == "paren" and value.op == "paren" and other.op == "list":
            return _compare_collections(left, right, context)
        return compare(value, other, context) if left is relation else compare(other, value, context)
    if other.op in _SETS and other.op != "rel" and not is_equation(relation):
        decision = _as_sets(left, right, context)
        if decision[0] is not None:
            return decision
    if operators_of(relation) == ("in",):
        inner = relation.args[1]
        return compare(inner, other, context) if left is relation else compare(other, inner, context)
    if other.op == "list" and len(relation.args) == len(other.args) > 2 and not is_equation(relation):
        same = in_order(relation.args, other.args, decider(context), "order_of_a_chain")
        return same if same[0] else (None, "chain_and_list")
    if other.op in ("list", "set"):
        return _compare_collections(left, right, context)
    if other.op in SCALAR_OPS and not is_equation(relation):
        return (False, "number_and_inequality") if not free_symbols(other) else (None, "expression_and_inequality")
    if other.op not in SCALAR_OPS:
        return None, "different_shapes"
    if not free_symbols(relation):  # a sum and what it comes to: `40 + 80 = 120`
        value = relation.args[-1]
        return compare(value, other, context) if left is relation else compare(other, value, context)
    return (True, "solves_equation") if _solves(other, relation, context) else (None, "expression_and_equation")


def _solves(value: Expr, equation: Expr, context: Context) -> bool:
    """True for an expression that makes an equation true if put in for its other symbol: `6/x` for `xy = 6`."""
    own = free_symbols(equation) - free_symbols(value)
    if len(own) != 1 or not free_symbols(value) or len(equation.args) != 2 or operators_of(equation) != ("=",):
        return False
    left, right = (substituted(side, next(iter(own)), value) for side in equation.args)
    return compare_scalars(left, right, context)[0] is True


def _as_sets(left: Expr, right: Expr, context: Context) -> Decision:
    same = same_set(left, right, context)
    if same is None:
        return None, "different_shapes"
    return same, "same_set" if same else "other_set"


# --- lists and sets -------------------------------------------------------------------------------------------------
def items_of(expr: Expr) -> list[Expr]:
    """The members of a collection: lists within are opened, plus-minus expanded, tuple assignments read."""
    expr = _simplified(expr)
    if expr.op in ("list", "set"):
        return [member for item in expr.args if not is_membership(item) for member in items_of(item)]
    if expr.op == "rel" and is_definition(expr) and expr.args[0].op == "paren" and expr.args[0].args:
        value = definition_value(expr)
        if value.op == "paren" and len(value.args) == len(expr.args[0].args) and expr.args[0].args[0].op == "apply":
            pairs = zip(expr.args[0].args, value.args, strict=True)
            return [Expr("rel", (name, item), ("=",)) for name, item in pairs]
        return items_of(value) if value.op in ("list", "set") else [value]
    if expr.op == "rel" and is_definition(expr) and definition_value(expr).op in ("list", "set"):
        return items_of(definition_value(expr))
    if expr.op == "rel" and operators_of(expr) == ("in",) and expr.args[1].op == "set":
        return items_of(expr.args[1])
    return [expr]


def _compare_collections(left: Expr, right: Expr, context: Context) -> Decision:
    sets = _as_sets(left, right, context) if _inequalities(left) or _inequalities(right) else (None, "")
    if sets[0] is not None:
        return sets
    ones, others = items_of(left), items_of(right)
    ones, others = _opened(ones, left, others), _opened(others, right, ones)
    if (left.op == "set" and right.op == "paren") or (left.op == "paren" and right.op == "set"):
        return None, "set_or_interval"
    if len(ones) == 1 and ones[0].op == "paren" and len(others) > 1 and others[0].op != "paren":
        decision = in_order_only(list(ones[0].args), _bare(others), decider(context))
        return _unless_interval(decision, ones[0], left, _labels(others), context)
    if len(others) == 1 and others[0].op == "paren" and len(ones) > 1 and ones[0].op != "paren":
        decision = in_order_only(_bare(ones), list(others[0].args), decider(context))
        return _unless_interval(decision, others[0], right, _labels(ones), context)
    named = _by_name(ones, others, context)
    if named is not None:
        return named
    if _labels(ones) and _labels(others):
        decision = in_order(_bare(ones), _bare(others), decider(context), "")
        return (None, "other_names") if decision[0] is not False else decision
    if _labels(ones) or _labels(others):
        return in_order_only(_bare(ones), _bare(others), decider(context))
    decision = match_unordered(_bare(ones), _bare(others), decider(context))
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


def _by_name(ones: Sequence[Expr], others: Sequence[Expr], context: Context) -> Decision | None:
    """`a=1, b=2` against `b=2, a=1`: by name, where both name the same ones, each once."""
    left = {defined_name(item): definition_value(item) for item in ones if is_definition(item)}
    right = {defined_name(item): definition_value(item) for item in others if is_definition(item)}
    if not (len(left) == len(ones) == len(right) == len(others) and left.keys() == right.keys()):
        return None
    return all_of([compare(left[name], right[name], context) for name in left], "same_by_name")


# --- tuples, matrices, ratios ---------------------------------------------------------------------------------------
def _compare_tuples(left: Expr, right: Expr, context: Context) -> Decision:
    if left.op != "paren" or right.op != "paren":
        bare, other = (left, right) if left.op == "paren" else (right, left)
        if len(bare.args) == 1 and str(bare.value) == "[]":
            return compare(bare.args[0], other, context) if bare is left else compare(other, bare.args[0], context)
        return (False, "tuple_and_number") if other.op in SCALAR_OPS else (None, "different_shapes")
    if left.value != right.value and len(left.args) == 2:
        return _other_brackets(left, right, context)
    return in_order(left.args, right.args, decider(context), "same_tuple")


def _other_brackets(left: Expr, right: Expr, context: Context) -> Decision:
    same = in_order(left.args, right.args, decider(context), "")[0]
    round_or_square = {left.value, right.value} == {"()", "[]"}
    doubt = same is None or (same and round_or_square)  # A point or list in other brackets, or another interval.
    return (None, "other_brackets") if doubt else (False, "other_brackets")


def _compare_matrices(left: Expr, right: Expr, context: Context) -> Decision:
    ones, others = rows_of(left), rows_of(right)
    if ones is None or others is None:
        return _vector_and_tuple(left, right, context)
    if [len(row) for row in ones] != [len(row) for row in others]:
        return False, "other_matrix_shape"
    flat_left = [cell for row in ones for cell in row]
    return in_order(flat_left, [cell for row in others for cell in row], decider(context), "same_matrix")


def _vector_and_tuple(left: Expr, right: Expr, context: Context) -> Decision:
    """A row or column vector is the tuple of its entries."""
    matrix, other = (left, right) if left.op == "matrix" else (right, left)
    if matrix.op != "matrix" or other.op != "paren":
        return None, "different_shapes"
    if len(matrix.args) == 1 or all(len(row.args) == 1 for row in matrix.args):
        flat = [cell for row in matrix.args for cell in row.args]
        ones, others = (flat, list(other.args)) if matrix is left else (list(other.args), flat)
        return in_order(ones, others, decider(context), "same_vector")
    return False, "matrix_and_tuple"


def _compare_ratios(left: Expr, right: Expr, context: Context) -> Decision:
    ones = left.args if left.op == "ratio" else (left,)
    others = right.args if right.op == "ratio" else (right,)
    if any(part.op not in SCALAR_OPS for part in (*ones, *others)):
        return None, "different_shapes"
    if len(ones) == len(others) and any(_is_zero(part) for part in (*ones, *others)):
        return in_order(
            ones, others, decider(context), "same_ratio"
        )  # A clock time such as 12:00; not a ratio to zero.
    if len(ones) != len(others):
        if max(len(ones), len(others)) > 2:
            return False, "other_length"
        if "quantity" in (left.op, right.op):
            return None, "ratio_or_time"  # `2:15` may be two hours and a quarter
        one, other = (Expr("div", parts) if len(parts) == 2 else parts[0] for parts in (ones, others))
        return compare_scalars(one, other, context)
    checks = []
    for one, other in zip(ones[1:], others[1:], strict=True):
        checks.append(compare_scalars(Expr("mul", (ones[0], other)), Expr("mul", (others[0], one)), context))
    return all_of(checks, "same_ratio")


def _is_zero(expr: Expr) -> bool:
    return expr.op == "num" and expr.value == 0
