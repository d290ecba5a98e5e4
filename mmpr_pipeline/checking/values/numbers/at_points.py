"""Are two expressions with symbols one? By their values at fixed points.

One plain difference decides. Agreement to nine digits at several unrelated points decides too: two different answers
of bounded size do not do that. Points are fixed, so that a verdict never changes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from mmpr_pipeline.checking.values.expression import (
    MAX_SIZE,
    Decision,
    Expr,
    children,
    free_symbols,
    function_names,
    rename,
    tree_size,
)
from mmpr_pipeline.checking.values.numbers.constants import decimal_digits, mentions_pi
from mmpr_pipeline.checking.values.numbers.evaluate import approximate, same_value
from mmpr_pipeline.checking.values.numbers.exact import Undecided

RELATIVE = 1e-9
_INTEGER_NAMES = frozenset("nmkljNMK")


def points(
    names: frozenset[str], count: int, *, signed: bool = False, whole: bool = False
) -> Iterator[dict[str, complex]]:
    """Fixed points, one value a symbol: positive, of either sign, or positive whole numbers."""
    for index in range(count):
        point: dict[str, complex] = {}
        for name in sorted(names):
            # A fixed, unremarkable positive number for a symbol at the index-th point.
            value = 0.37 + (zlib.crc32(f"{name}/{index}".encode()) % 100_003) / 100_003 * 2.4
            if whole:
                value = 2.0 + zlib.crc32(f"{name}#{index}".encode()) % 9
            elif signed and zlib.crc32(f"{index}?{name}".encode()) % 2:
                value = -value
            point[name] = complex(value)
        yield point


def agreement(left: Expr, right: Expr, at: Iterator[dict[str, complex]], tolerance: float) -> tuple[int, int]:
    """At how many points two trees agree and differ; points where either has no value count for neither."""
    same = other = 0
    for point in at:
        try:
            agrees = same_value(left, right, point, tolerance)
        except Undecided:
            continue
        if agrees:
            same += 1
            continue
        # Where both sides have left the real numbers, by inverse functions say, their branches prove nothing.
        imaginary = min(abs(approximate(left, point).imag), abs(approximate(right, point).imag))
        if imaginary < RELATIVE or _imaginary_unit(left) or _imaginary_unit(right):
            other += 1
            if other > 1:
                break
    return same, other


def _imaginary_unit(expr: Expr) -> bool:
    return any(node.op == "const" and node.value == "i" for node in _nodes(expr))


def compare_expressions(left: Expr, right: Expr) -> Decision:
    """Two expressions with symbols, by their values at positive, mixed and (for integer parameters) whole points."""
    names = free_symbols(left) | free_symbols(right)
    if "dots" in names:
        return None, "ellipsis"
    if tree_size(left) + tree_size(right) > MAX_SIZE:
        return None, "too_large"
    same, other = agreement(left, right, points(names, 5), RELATIVE)
    if other == 0 and same >= 3:
        _, differs = agreement(left, right, points(names, 4, signed=True), RELATIVE)
        if not differs:
            return True, "same_at_points"
        # |x| is not x, but sqrt(ab) is what physics writes for sqrt(a)sqrt(b).
        only_one_abs = "abs" in function_names(left) ^ function_names(right)
        return (False if only_one_abs else None), "same_for_positives_only"
    if 0 < same < 3 and other == 0:
        # Equal where both are real, at few points: more are taken between 0 and 1, where inverse functions live.
        inside = ({name: value / 3 for name, value in point.items()} for point in points(names, 6))
        within_one_same, within_one_other = agreement(left, right, inside, RELATIVE)
        return (True, "same_at_points") if within_one_same >= 3 and not within_one_other else (None, "no_value")
    if same + other == 0:
        return _whole_points(left, right, names)
    # They differ at a point; decimals, integer parameters and renamed parameters may still make them one.
    digits = min(decimal_digits(left), decimal_digits(right))
    if 4 <= digits < 99:
        same, other = agreement(left, right, points(names, 4), 0.5 * 10 ** (1 - digits))
        if same >= 3 and not other:
            return True, "same_to_stated_digits"
    whole = bool({"floor", "ceil"} & (function_names(left) | function_names(right))) or _alternates(left, right)
    if whole and names <= _INTEGER_NAMES:
        return _whole_points(left, right, names)
    # pi/6 + n pi is pi/6 + k pi: an integer parameter may have any of its usual names.
    only_left, only_right = free_symbols(left) - free_symbols(right), free_symbols(right) - free_symbols(left)
    if len(only_left) == len(only_right) == 1 and only_left <= _INTEGER_NAMES and only_right <= _INTEGER_NAMES:
        renamed = rename(left, next(iter(only_left)), next(iter(only_right)))
        same, other = agreement(renamed, right, points(free_symbols(right), 4), RELATIVE)
        if same >= 3 and not other:
            return (
                (True, "renamed_parameter") if mentions_pi(left) or _mentions_degree(left) else (None, "renamed_symbol")
            )
    return False, "other_value"


def _whole_points(left: Expr, right: Expr, names: frozenset[str]) -> Decision:
    same, other = agreement(left, right, points(names, 6, whole=True), RELATIVE)
    if same >= 3 and not other:
        return True, "same_at_whole_points"
    return (False, "other_value") if other > 1 else (None, "no_value")


def _alternates(left: Expr, right: Expr) -> bool:
    """Whether a negative base is raised to a symbol, as in (-1)^n."""
    return any(
        node.op == "pow" and free_symbols(node.args[1]) and node.args[0].op == "neg"
        for node in _nodes(left) + _nodes(right)
    )


def _nodes(expr: Expr) -> list[Expr]:
    found, stack = [], [expr]
    while stack:
        node = stack.pop()
        found.append(node)
        stack.extend(children(node))
    return found


def _mentions_degree(expr: Expr) -> bool:
    return expr.op == "degree" or any(_mentions_degree(arg) for arg in children(expr))
