"""Members compared, in order or as sets; tuples, intervals, matrices, vectors, ratios and residues, entry by entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

from mmpr_pipeline.checking.values.expression import (
    SCALAR_OPS,
    Context,
    Decision,
    Expr,
    constant_as_symbol,
    free_symbols,
    number_leaf,
    operations,
    substituted,
    tree_size,
)
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact
from mmpr_pipeline.checking.values.numbers.scalars import compare_scalars

MAX_WORK = 30_000  # Nodes that matching without order may have to look at.
MAX_ITEMS = 30  # Longest list that is matched without order.
Decide = Callable[[Expr, Expr], Decision]


def all_of(decisions: Sequence[Decision], rule: str) -> Decision:
    """All decisions as one: false where one is, in doubt where one is, else true by `rule`."""
    for decision in decisions:
        if decision[0] is False:
            return decision
    for decision in decisions:
        if decision[0] is None:
            return decision
    return True, rule


def members_in_order(ones: Sequence[Expr], others: Sequence[Expr], decide: Decide, rule: str) -> Decision:
    """Members compared one by one, in their order."""
    if len(ones) != len(others):
        return False, "other_length"
    results: list[Decision] = []
    for one, other in zip(ones, others, strict=True):
        results.append(decide(one, other))
        if results[-1][0] is False:
            break
    return all_of(results, rule)


def in_order_only(ones: Sequence[Expr], others: Sequence[Expr], decide: Decide) -> Decision:
    """One side has an order or names, the other has not: the same order is a match, another order is in doubt."""
    decision = members_in_order(ones, others, decide, "same_in_order")
    if decision[0] is False and len(ones) == len(others):
        return (None, "other_order") if match_unordered(ones, others, decide)[0] else decision
    return decision


def match_unordered(ones: Sequence[Expr], others: Sequence[Expr], decide: Decide) -> Decision:
    """Collections without order: each gold has its own match. Repeats count only where the gold repeats itself."""
    if max(len(ones), len(others)) > MAX_ITEMS:
        ones, others = _without_equals(ones, others)
    if max(len(ones), len(others)) > MAX_ITEMS:
        return members_in_order(ones, others, decide, "same_in_order")
    if sum(map(tree_size, ones)) * len(others) + sum(map(tree_size, others)) * len(ones) > MAX_WORK:
        return None, "too_large"
    ones, others = _without_equals(ones, others) if len(ones) == len(others) else (ones, others)
    table = [[decide(one, other)[0] for other in others] for one in ones]
    if len(ones) != len(others):
        # Different lengths: the same set only where one side merely repeats a member.
        if not ones or not others:
            return False, "other_length"
        covered = all(any(row) for row in table) and all(any(row[j] for row in table) for j in range(len(others)))
        if covered and len(ones) > len(others) and all(item.op == "paren" for item in others):
            return True, "same_members"
        return (None, "repeated_member") if covered else (False, "other_length")
    used: set[int] = set()
    doubt = False
    for row in table:
        free = [j for j, verdict in enumerate(row) if j not in used and verdict]
        if free:
            used.add(free[0])
        elif any(verdict is None for verdict in row):
            doubt = True
        else:
            return False, "other_members"
    return (None, "member_in_doubt") if doubt else (True, "same_members")


def _without_equals(ones: Sequence[Expr], others: Sequence[Expr]) -> tuple[list[Expr], list[Expr]]:
    """What is left of two collections when members with the same tree are taken out pair by pair."""
    left, right = Counter(ones), Counter(others)
    return list((left - right).elements()), list((right - left).elements())


# ---- entry by entry


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


_ONE = Fraction(1)


def matrix_rows(expr: Expr) -> list[tuple[Expr, ...]] | None:
    """Entries of a matrix by rows: written, as nested brackets, or worked out from a sum or a scalar multiple."""
    if expr.op == "matrix":
        return [row.args for row in expr.args]
    if expr.op == "paren" and expr.args and all(arg.op == "paren" for arg in expr.args):
        return [arg.args for arg in expr.args]
    if expr.op == "add":
        parts = [matrix_rows(term) for term in expr.args]
        first = parts[0]
        if first is None or any(part is None or [len(r) for r in part] != [len(r) for r in first] for part in parts):
            return None
        grids = [part for part in parts if part is not None]
        return [tuple(Expr("add", cells) for cells in zip(*rows, strict=True)) for rows in zip(*grids, strict=True)]
    if expr.op in ("neg", "mul"):
        # A matrix times a scalar, or negated.
        matrices = [arg for arg in expr.args if arg.op == "matrix"]
        if len(matrices) != 1 or any("matrix" in operations(arg) for arg in expr.args if arg.op != "matrix"):
            return None
        rest = tuple(arg for arg in expr.args if arg.op != "matrix")
        scale = Expr("neg", (Expr("num", (), _ONE),)) if expr.op == "neg" else Expr("mul", rest)
        return [tuple(Expr("mul", (scale, cell)) for cell in row.args) for row in matrices[0].args]
    return None
