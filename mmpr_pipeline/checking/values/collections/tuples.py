"""Tuples, intervals, matrices, vectors, ratios and residues compared, entry by entry."""

from __future__ import annotations

from mmpr_pipeline.checking.values.collections.matrices import matrix_rows
from mmpr_pipeline.checking.values.collections.members import Decide, all_of, members_in_order
from mmpr_pipeline.checking.values.context import Context, Decision
from mmpr_pipeline.checking.values.expression import (
    SCALAR_OPS,
    Expr,
    constant_as_symbol,
    free_symbols,
    number_leaf,
    substituted,
)
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact
from mmpr_pipeline.checking.values.numbers.scalars import compare_scalars


def compare_tuples(left: Expr, right: Expr, decide: Decide) -> Decision:
    """Tuples or intervals; a number in square brackets alone is that number."""
    if left.op != "paren" or right.op != "paren":
        bare, other = (left, right) if left.op == "paren" else (right, left)
        vector = entries_along_axes(other, len(bare.args))
        if vector is not None:
            ones, others = (bare.args, vector) if bare is left else (vector, bare.args)
            return members_in_order(ones, others, decide, "same_vector")
        if len(bare.args) == 1 and str(bare.value) == "[]":
            return decide(bare.args[0], other) if bare is left else decide(other, bare.args[0])
        return (False, "tuple_and_number") if other.op in SCALAR_OPS else (None, "different_shapes")
    if left.value != right.value and len(left.args) == 2:
        same = members_in_order(left.args, right.args, decide, "")[0]
        round_or_square = {left.value, right.value} == {"()", "[]"}
        doubt = same is None or (same and round_or_square)  # A point or list in other brackets, or another interval.
        return (None, "other_brackets") if doubt else (False, "other_brackets")
    return members_in_order(left.args, right.args, decide, "same_tuple")


def compare_matrices(left: Expr, right: Expr, decide: Decide) -> Decision:
    """Matrices of one shape, entry by entry, or a vector and a tuple."""
    ones, others = matrix_rows(left), matrix_rows(right)
    if ones is None or others is None:
        # A row or column vector is the tuple of its entries.
        matrix, other = (left, right) if left.op == "matrix" else (right, left)
        if matrix.op != "matrix" or other.op != "paren":
            return None, "different_shapes"
        if len(matrix.args) == 1 or all(len(row.args) == 1 for row in matrix.args):
            flat = [cell for row in matrix.args for cell in row.args]
            vector_and_tuple_ones, vector_and_tuple_others = (
                (flat, list(other.args)) if matrix is left else (list(other.args), flat)
            )
            return members_in_order(vector_and_tuple_ones, vector_and_tuple_others, decide, "same_vector")
        return False, "matrix_and_tuple"
    if [len(row) for row in ones] != [len(row) for row in others]:
        return False, "other_matrix_shape"
    flat_left = [cell for row in ones for cell in row]
    return members_in_order(flat_left, [cell for row in others for cell in row], decide, "same_matrix")


def compare_residues(left: Expr, right: Expr, decide: Decide) -> Decision:
    """Residues of one modulus are equal where they differ by a multiple of it; a bare number must be the residue."""
    if left.op != "residue" or right.op != "residue":
        value = left.args[0] if left.op == "residue" else left
        gold = right.args[0] if right.op == "residue" else right
        decision, rule = decide(value, gold)
        return (True, rule) if decision else (None, "residue_and_number")
    try:
        one, modulus, other, gold_modulus = (exact(arg) for arg in (*left.args, *right.args))
    except (NotRational, Undecided):
        return None, "residue"
    same = modulus == gold_modulus != 0 and (one - other) % modulus == 0
    return same, "same_residue" if same else "other_residue"


def compare_ratios(left: Expr, right: Expr, context: Context, decide: Decide) -> Decision:
    """Ratios up to a common factor; of two parts, also a ratio and a number."""
    ones = left.args if left.op == "ratio" else (left,)
    others = right.args if right.op == "ratio" else (right,)
    if any(part.op not in SCALAR_OPS for part in (*ones, *others)):
        return None, "different_shapes"
    if len(ones) == len(others) and any(part.op == "num" and part.value == 0 for part in (*ones, *others)):
        return members_in_order(ones, others, decide, "same_ratio")  # a clock time such as 12:00; not a ratio to zero
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


def entries_along_axes(expr: Expr, count: int) -> tuple[Expr, ...] | None:
    """`2\\hat{i} - \\hat{j}` as its entries (2, -1); None for what is no sum of unit vectors."""
    expr = constant_as_symbol(expr, "i")
    names = {name: name.rpartition(" ")[2] for name in free_symbols(expr)}
    letters = set(names.values())
    axes = next((axes for axes in ("ijk", "xyz") if letters <= set(axes)), "")
    marked = any(" " in name for name in names)
    if not axes or not letters or not 2 <= count <= 3 or (axes == "xyz" and not marked) or expr.op not in SCALAR_OPS:
        return None
    if not letters <= set(axes[:count]):
        return None
    try:
        zero = approximate(_at_axis(expr, names, ""), {})
        one = approximate(expr, dict.fromkeys(names, 1 + 0j))
        two = approximate(expr, dict.fromkeys(names, 2 + 0j))
    except Undecided:
        return None
    # Nothing is left without the unit vectors, and no two are multiplied.
    if not (abs(zero) < 1e-12 and abs(two - 2 * one) < 1e-9 * max(1.0, abs(two))):
        return None
    return tuple(_at_axis(expr, names, letter) for letter in axes[:count])


def _at_axis(expr: Expr, names: dict[str, str], axis: str) -> Expr:
    for name, letter in names.items():
        expr = substituted(expr, name, number_leaf(int(letter == axis)))
    return expr
