"""Entries of matrices, sums and scalar multiples of matrices worked out."""

from __future__ import annotations

from fractions import Fraction

from mmpr_pipeline.checking.values.expression import Expr, operations

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
