"""Are two trees one answer? Texts and relations here; collections, tuples and scalars in modules of their own."""

from __future__ import annotations

from mmpr_pipeline.checking.values.collections.collection import (
    compare_collections,
    compare_sets,
    independent_signs,
    simplified,
)
from mmpr_pipeline.checking.values.collections.relations import (
    compare_relations,
    defined_name,
    definition_value,
    is_definition,
    is_equation,
)
from mmpr_pipeline.checking.values.collections.tuples import (
    Decide,
    compare_matrices,
    compare_ratios,
    compare_residues,
    compare_tuples,
    members_in_order,
)
from mmpr_pipeline.checking.values.expression import (
    SCALAR_OPS,
    Context,
    Decision,
    Expr,
    free_symbols,
    operations,
    operators_of,
    substituted,
)
from mmpr_pipeline.checking.values.numbers.scalars import compare_scalars

_SETS = frozenset({"union", "intersect", "setminus", "builder", "rel", "set", "paren", "list", "add", "const"})


def compare_values(left: Expr, right: Expr, context: Context) -> Decision:
    """Decide whether the prediction `left` is the gold `right`; None is in doubt."""
    if left == right:
        return True, "same_tree"
    decide = decider(context)
    signed = independent_signs(left), independent_signs(right)
    left, right = simplified(left), simplified(right)
    if any(signed):
        one, other = signed[0] or left, signed[1] or right
        same = compare_collections(one, other, context, decide)[0]
        return (True, "independent_signs") if same else (None, "signs")
    if left == right:
        return True, "same_tree"
    if right.op in SCALAR_OPS and left.op in ("paren", "list") and all(is_definition(item) for item in left.args):
        # `(h=7, b=-4)` for a gold that is one value: the one whose name the question asks for; in doubt without
        # it.
        asked = [item for item in left.args if context.asks_for(defined_name(item))]
        if len(asked) == 1:
            return compare_values(definition_value(asked[0]), right, context)
        return None, "one_of_several_names"
    if left.op == "text" or right.op == "text":
        if left.op == right.op == "text":
            same = str(left.value).lower().split() == str(right.value).lower().split()
            return compare_words(str(left.value), str(right.value)) if not same else (True, "same_text")
        return None, "text_and_mathematics"
    if left.op == "rel" or right.op == "rel":
        return _compare_with_relation(left, right, context)
    if left.op in ("list", "set") or right.op in ("list", "set"):
        decision = compare_collections(left, right, context, decide)
        definitions = any(side.op == "list" and all(map(is_definition, side.args)) for side in (left, right))
        # `p=5,q=2;p=7,q=2` may be two pairs
        return (None, "several_definitions") if definitions and decision == (False, "other_length") else decision
    if left.op == "residue" or right.op == "residue":
        return compare_residues(left, right, decide)
    if (
        left.op in _SETS
        and right.op in _SETS
        and {left.op, right.op} & {"union", "intersect", "setminus", "builder", "const"}
    ):
        return compare_sets(left, right, context)
    if left.op == "matrix" or right.op == "matrix" or "matrix" in operations(left) | operations(right):
        return compare_matrices(left, right, decide)
    if left.op == "paren" or right.op == "paren":
        return compare_tuples(left, right, decide)
    if left.op == "ratio" or right.op == "ratio":
        return compare_ratios(left, right, context, decide)
    if left.op in SCALAR_OPS and right.op in SCALAR_OPS:
        return compare_scalars(left, right, context)
    return None, "different_shapes"


def decider(context: Context) -> Decide:
    """`compare_values` with its context given."""
    return lambda left, right: compare_values(left, right, context)


_SAME_WORDS = (
    frozenset({"no solution", "no solutions", "there is no solution", "there are no solutions", "none exist", "无解"}),
)


def compare_words(left: str, right: str) -> Decision:
    """Two texts that differ: another single word is another answer; phrases may mean the same."""
    if any(left.lower() in group and right.lower() in group for group in _SAME_WORDS):
        return True, "same_words"
    ones, others = left.lower().split(), right.lower().split()
    if len(ones) == len(others) == 1 and ones[0][:4] != others[0][:4]:
        return False, "other_text"
    return None, "other_words"


# --- relations ------------------------------------------------------------------------------------------------------
def _compare_with_relation(left: Expr, right: Expr, context: Context) -> Decision:
    if left.op == "rel" and right.op == "rel":
        decision = compare_relations(left, right, compare_values, context)
        as_sets = decision[0] is None and decision[1] != "other_symbol" and not is_equation(left)
        return compare_sets(left, right, context) if as_sets else decision
    relation, other = (left, right) if left.op == "rel" else (right, left)
    if is_definition(relation):
        value = definition_value(relation)
        names = relation.args[0]
        if names.op == "paren" and value.op == "paren" and other.op == "list":
            return compare_collections(left, right, context, decider(context))
        return compare_values(value, other, context) if left is relation else compare_values(other, value, context)
    if other.op in _SETS and other.op != "rel" and not is_equation(relation):
        decision = compare_sets(left, right, context)
        if decision[0] is not None:
            return decision
    if operators_of(relation) == ("in",):
        inner = relation.args[1]
        return compare_values(inner, other, context) if left is relation else compare_values(other, inner, context)
    if other.op == "list" and len(relation.args) == len(other.args) > 2 and not is_equation(relation):
        same = members_in_order(relation.args, other.args, decider(context), "order_of_a_chain")
        return same if same[0] else (None, "chain_and_list")
    if other.op in ("list", "set"):
        return compare_collections(left, right, context, decider(context))
    if other.op in SCALAR_OPS and not is_equation(relation):
        return (False, "number_and_inequality") if not free_symbols(other) else (None, "expression_and_inequality")
    if other.op not in SCALAR_OPS:
        return None, "different_shapes"
    if not free_symbols(relation):  # a sum and what it comes to: `40 + 80 = 120`
        value = relation.args[-1]
        return compare_values(value, other, context) if left is relation else compare_values(other, value, context)
    # An expression that makes an equation true if put in for its other symbol: `6/x` for `xy = 6`.
    own, symbols = free_symbols(relation) - free_symbols(other), free_symbols(other)
    if len(own) == 1 and symbols and len(relation.args) == 2 and operators_of(relation) == ("=",):
        one, two = (substituted(side, next(iter(own)), other) for side in relation.args)
        if compare_scalars(one, two, context)[0]:
            return True, "solves_equation"
    return None, "expression_and_equation"
