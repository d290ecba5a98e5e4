"""Are two scalars one? Constants by value and stated precision, expressions by their values at fixed points.

Unequal values decide at once. Equal values of elementary expressions at several points decide too: two different
answers of bounded size do not agree to nine digits at five unrelated points. Constants that agree as floats are
compared again with fifty digits.
"""

from __future__ import annotations

import cmath
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from mmpr_pipeline.checking.evaluate import NotRational, Undecided, approximate, exact
from mmpr_pipeline.checking.expression import (
    CALCULUS_OPS,
    Expr,
    children,
    free_symbols,
    function_names,
    literal_of,
    operations,
    rename,
)
from mmpr_pipeline.checking.precise import same_to_fifty_digits
from mmpr_pipeline.checking.unit import UNIT_LETTERS, compare_units, is_counter

RELATIVE = 1e-9
_INTEGER_NAMES = frozenset("nmkljNMK")
_ROUNDING_WORDS = (
    "nearest",
    "round",
    "decimal",
    "approximat",
    "estimate",
    "hundredth",
    "tenth",
    "小数",
    "保留",
    "精确",
    "近似",
)
_PERCENT_WORDS = ("percent", "%", "百分")


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about the question: its text, and the precision and unit that its source states."""

    question: str = ""
    precision: float | None = None
    unit: str | None = None

    def asks_rounding(self) -> bool:
        """Whether the question asks for a rounded value."""
        lower = self.question.lower()
        return any(word in lower for word in _ROUNDING_WORDS)

    def asks_percent(self) -> bool:
        """Whether the question asks for, or speaks of, a percentage."""
        lower = self.question.lower()
        return any(word in lower for word in _PERCENT_WORDS)


Decision = tuple[bool | None, str]  # True, False, or None for in doubt; and the rule that decided.


def compare_scalars(left: Expr, right: Expr, context: Context) -> Decision:
    """Decide whether the prediction's scalar `left` is the gold's scalar `right`."""
    if left == right:
        return True, "same_tree"
    left, right = _percent_in_words(left), _percent_in_words(right)
    if {left.op, right.op} & {"quantity", "degree", "percent"}:
        return _compare_dressed(left, right, context)
    if CALCULUS_OPS & (operations(left) | operations(right)):
        return None, "calculus"
    names, gold_names = free_symbols(left), free_symbols(right)
    if not names and not gold_names:
        return compare_constants(left, right, context)
    decision, rule = compare_expressions(left, right)
    if decision is False and bool(names) != bool(gold_names):
        return _hidden_unit(left, right, context)
    return decision, rule


def _hidden_unit(left: Expr, right: Expr, context: Context) -> Decision:
    """`5m` beside a bare 5 may be five metres; `1,000.99m^2` surely is a quantity."""
    plain, other = (right, left) if free_symbols(left) else (left, right)
    factors = other.args if other.op in ("mul", "div") else ()
    letters = [
        f.value if f.op == "sym" else f.args[0].value if f.op == "pow" and f.args[0].op == "sym" else ""
        for f in factors
    ]
    if len(factors) != 2 or factors[0].op != "num" or letters[1] not in UNIT_LETTERS:
        return False, "other_value"
    value = (factors[0], plain) if other is left else (plain, factors[0])
    same = compare_constants(*value, context)
    if same[0] is False:
        return same
    surely = factors[1].op == "pow" and stated(factors[0]) is not None
    return (same[0], "unit_added") if surely else (None, "unit_or_symbol")


# --- units, degrees, percent ----------------------------------------------------------------------------------------
def _percent_in_words(expr: Expr) -> Expr:
    """`12 percent` as 12%, `30 degrees` as 30°."""
    if expr.op == "quantity":
        unit = str(expr.value).strip().lower()
        if unit in ("percent", "per cent", "%"):
            return Expr("percent", expr.args)
        if unit in ("degrees", "degree", "deg", "度"):
            return Expr("degree", expr.args)
    return expr


def _dressing(expr: Expr) -> tuple[Expr, str]:
    """The bare value and its unit text; `%` and `degree` are units here."""
    if expr.op == "quantity":
        unit = str(expr.value).strip().lower()
        if expr.args[0].op == "degree":
            return expr.args[0].args[0], "degree"
        return (expr.args[0], "") if is_counter(unit) else (expr.args[0], str(expr.value))
    if expr.op in ("percent", "degree"):
        return expr.args[0], "%" if expr.op == "percent" else "degree"
    if expr.op == "neg" and expr.args[0].op in ("quantity", "percent", "degree"):
        inner, unit = _dressing(expr.args[0])
        return Expr("neg", (inner,)), unit
    return expr, ""


def _compare_dressed(left: Expr, right: Expr, context: Context) -> Decision:
    (bare_left, unit_left), (bare_right, unit_right) = _dressing(left), _dressing(right)
    if unit_left == unit_right:
        return compare_scalars(bare_left, bare_right, context)
    if unit_left and unit_right:
        return _compare_with_units(bare_left, unit_left, bare_right, unit_right, context)
    unit = unit_left or unit_right
    if unit == "%":
        return _compare_percent(left, right, bare_left, bare_right, context)
    if unit == "degree":
        return _compare_degree(left, right, bare_left, bare_right, context)
    plain = bare_right if unit_left else bare_left
    if plain.op in ("sym", "text") or free_symbols(plain) != free_symbols(bare_left if unit_left else bare_right):
        return _letter_unit(bare_left, unit_left, bare_right, unit_right, context)
    if not unit_right and context.unit and unit_left:
        return _compare_with_units(bare_left, unit_left, bare_right, context.unit, context)
    return compare_scalars(bare_left, bare_right, context)


def _letter_unit(left: Expr, unit_left: str, right: Expr, unit_right: str, context: Context) -> Decision:
    """`5 m` reads as five times m; beside a quantity it is five metres."""
    plain = right if unit_left else left
    if plain.op == "mul" and plain.args[-1].op == "sym" and not free_symbols(plain.args[0]) and len(plain.args) == 2:
        letter, value = str(plain.args[1].value), plain.args[0]
        if unit_left:
            return _compare_with_units(left, unit_left, value, letter, context)
        return _compare_with_units(value, letter, right, unit_right, context)
    decision, rule = compare_scalars(left, right, context)
    return (None, "unit_or_symbol") if decision is None else (decision, rule)


def _compare_with_units(left: Expr, unit_left: str, right: Expr, unit_right: str, context: Context) -> Decision:
    same, worth = compare_units(unit_left, unit_right)
    if same is False:
        return False, "other_unit"
    if same is None:
        decision, rule = compare_scalars(left, right, context)
        return (False, rule) if decision is False else (None, "unknown_unit")
    if worth == 1:
        return compare_scalars(left, right, context)
    scaled = Expr("mul", (Expr("num", (), worth), left))
    decision, rule = compare_scalars(_folded(scaled, left, worth), right, context)
    return decision, rule if rule == "other_value" else "converted_unit"


def _folded(scaled: Expr, left: Expr, worth: Fraction) -> Expr:
    """A converted literal as one literal, so that it keeps a precision."""
    try:
        return Expr("num", (), exact(left) * worth)
    except (NotRational, Undecided):
        return scaled


def _compare_percent(left: Expr, right: Expr, bare_left: Expr, bare_right: Expr, context: Context) -> Decision:
    """30% is 0.3. A bare 30 is 30% only where the question speaks of percent; then a bare 0.3 is in doubt."""
    as_number, _ = compare_scalars(bare_left, bare_right, context)
    as_share, rule = _constant_values(left, right, context)
    if context.asks_percent() or context.unit == "%":
        if as_number:
            return True, "percent_asked"
        return (None, "percent_or_share") if as_share else (False, "other_value")
    if as_share:
        return True, "percent_value"
    return (None, "percent_or_number") if as_number else (False, rule)


def _constant_values(left: Expr, right: Expr, context: Context) -> Decision:
    if free_symbols(left) or free_symbols(right):
        return compare_expressions(left, right)
    return compare_constants(left, right, context)


def _compare_degree(left: Expr, right: Expr, bare_left: Expr, bare_right: Expr, context: Context) -> Decision:
    """60 degrees is a bare 60, and pi/3 where the bare one speaks of pi."""
    plain = bare_right if left.op == "degree" else bare_left
    if _mentions_pi(plain):
        return _constant_values(left, right, context)
    return compare_scalars(bare_left, bare_right, context)


def _mentions_pi(expr: Expr) -> bool:
    return (expr.op == "const" and expr.value == "pi") or any(_mentions_pi(arg) for arg in children(expr))


# --- constants ------------------------------------------------------------------------------------------------------
def stated(expr: Expr) -> tuple[Fraction, int] | None:
    """Worth of the last digit and number of significant digits of a decimal literal; None for an exact value."""
    literal = literal_of(expr)
    if literal:
        mantissa, _, exponent = literal.lower().partition("e")
        decimals = len(mantissa.partition(".")[2])
        significant = len(mantissa.replace(".", "").lstrip("0"))
        return Fraction(10) ** (int(exponent or 0) - decimals), significant
    if expr.op in ("neg", "percent"):
        inner = stated(expr.args[0])
        return inner and (inner[0] / (100 if expr.op == "percent" else 1), inner[1])
    if expr.op == "mul" and len(expr.args) == 2 and stated(expr.args[0]):
        inner = stated(expr.args[0])
        try:
            return inner and (inner[0] * abs(exact(expr.args[1])), inner[1])
        except (NotRational, Undecided):
            return None
    return None


def compare_constants(left: Expr, right: Expr, context: Context) -> Decision:
    """Two constants: exactly, within the stated precision, or as one rounds to the other's digits."""
    if (left.op == "base") != (right.op == "base"):
        return None, "other_base"
    if _infinite(left) or _infinite(right):
        same = _infinite(left) == _infinite(right)
        return same, "infinity" if same else "other_value"
    try:
        one, other = exact(left), exact(right)
    except NotRational:
        return _compare_floats(left, right, context)
    except Undecided as error:
        return None, f"too_large_or_undefined:{error}"
    if one == other:
        return True, "same_number"
    return _compare_rounded(one, other, left, right, context)


def _compare_floats(left: Expr, right: Expr, context: Context) -> Decision:
    try:
        one, other = approximate(left, {}), approximate(right, {})
    except Undecided as error:
        return None, f"too_large_or_undefined:{error}"
    if _close(one, other, 1e-12) or (_close(one, other, 1e-7) and not (stated(left) or stated(right))):
        same = same_to_fifty_digits(left, right)
        if same is not None:
            return same, "same_value" if same else "other_value"
    if abs(one.imag) > 1e-12 or abs(other.imag) > 1e-12:
        return (True, "same_value") if _close(one, other, 1e-12) else _approximate_decimals(left, right, one, other)
    return _compare_rounded(Fraction(one.real), Fraction(other.real), left, right, context)


def _close(one: complex, other: complex, tolerance: float) -> bool:
    return abs(one - other) <= tolerance * max(abs(one), abs(other), 1e-300)


def _compare_rounded(one: Fraction, other: Fraction, left: Expr, right: Expr, context: Context) -> Decision:
    """Values that differ: may one still be the other, rounded as it should be?"""
    difference = abs(one - other)
    if context.precision is not None:
        within = difference <= tolerance_of(context.precision)
        return within, "stated_precision" if within else "other_value"
    gold, prediction = stated(right), stated(left)
    if other.denominator == 1 and not gold:
        return False, "other_value"
    if gold and not (prediction and prediction[0] >= gold[0]):
        return _finer_prediction(one, other, gold[0], prediction is None)
    if prediction is None:
        return _integer_for_decimal(one, difference) if gold or one.denominator == 1 else (False, "other_value")
    return _coarser_prediction(one, other, prediction, context, bool(gold))


def tolerance_of(precision: float) -> Fraction:
    """A small whole number is a number of decimals; anything else is an absolute tolerance (OlympiadBench)."""
    if float(precision).is_integer() and 0 <= precision <= 15:
        return Fraction(1, 2 * 10 ** int(precision)) * Fraction(1_000_001, 1_000_000)
    return Fraction(precision) * Fraction(101, 100)


def _finer_prediction(one: Fraction, other: Fraction, last: Fraction, exact_prediction: bool) -> Decision:
    """The gold is a decimal, the prediction more exact: it must round to the gold (an exact one may be truncated)."""
    difference = one - other
    if abs(difference) <= last / 2:
        return True, "rounds_to_gold"
    if exact_prediction and 0 <= (difference if other > 0 else -difference) < last and last <= Fraction(1, 100):
        return True, "truncates_to_gold"
    return False, "other_value"


def _integer_for_decimal(one: Fraction, difference: Fraction) -> Decision:
    if one.denominator == 1 and difference <= Fraction(1, 2) and abs(one) >= 100:
        return None, "rounded_to_integer"
    return False, "other_value"


def _coarser_prediction(
    one: Fraction, other: Fraction, prediction: tuple[Fraction, int], context: Context, gold_decimal: bool
) -> Decision:
    """The prediction is a decimal, the gold finer or exact: the prediction must be the gold rounded or truncated."""
    last, significant = prediction
    difference = other - one
    rounded = abs(difference) <= last / 2
    truncated = 0 <= (difference if other > 0 else -difference) < last
    if not rounded and not (truncated and significant >= 4):
        return False, "other_value"
    if significant >= (3 if gold_decimal else 4) or (context.asks_rounding() and significant >= 2):
        return True, "rounds_gold"
    return None, "rounded_too_far"


def _approximate_decimals(left: Expr, right: Expr, one: complex, other: complex) -> Decision:
    digits = min(_decimal_digits(left), _decimal_digits(right))
    if 4 <= digits < 99 and _close(one, other, 0.5 * 10 ** (1 - digits)):
        return True, "same_to_stated_digits"
    return False, "other_value"


def _decimal_digits(expr: Expr) -> int:
    """Significant digits of the least precise decimal in a tree; 99 when there is none."""
    literal = literal_of(expr)
    if literal:
        return len(literal.lower().partition("e")[0].replace(".", "").lstrip("0"))
    return min((_decimal_digits(arg) for arg in children(expr)), default=99)


# --- expressions ----------------------------------------------------------------------------------------------------
def _coordinate(name: str, index: int) -> float:
    """A fixed, unremarkable positive number for a symbol at the index-th point."""
    return 0.37 + (zlib.crc32(f"{name}/{index}".encode()) % 100_003) / 100_003 * 2.4


def points(
    names: frozenset[str], count: int, *, signed: bool = False, whole: bool = False
) -> Iterator[dict[str, complex]]:
    """Fixed points, one value a symbol: positive, of either sign, or positive whole numbers."""
    for index in range(count):
        point: dict[str, complex] = {}
        for name in sorted(names):
            value = _coordinate(name, index)
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
            one, two = approximate(left, point), approximate(right, point)
        except Undecided:
            continue
        if cmath.isclose(one, two, rel_tol=tolerance, abs_tol=1e-13):
            same += 1
        else:
            other += 1
            if other > 1:
                break
    return same, other


def compare_expressions(left: Expr, right: Expr) -> Decision:
    """Two expressions with symbols, by their values at positive, mixed and (for integer parameters) whole points."""
    names = free_symbols(left) | free_symbols(right)
    if "dots" in names:
        return None, "ellipsis"
    same, other = agreement(left, right, points(names, 5), RELATIVE)
    if other == 0 and same >= 3:
        _, differs = agreement(left, right, points(names, 4, signed=True), RELATIVE)
        return (True, "same_at_points") if not differs else _domain_only(left, right)
    if same + other == 0:
        return _whole_points(left, right, names)
    return _unequal(left, right, names)


def _domain_only(left: Expr, right: Expr) -> Decision:
    """Equal for positive symbols only: |x| is not x, but sqrt(ab) is what physics writes for sqrt(a)sqrt(b)."""
    if "abs" in function_names(left) ^ function_names(right):
        return False, "same_for_positives_only"
    return None, "same_for_positives_only"


def _whole_points(left: Expr, right: Expr, names: frozenset[str]) -> Decision:
    same, other = agreement(left, right, points(names, 6, whole=True), RELATIVE)
    if same >= 3 and not other:
        return True, "same_at_whole_points"
    return (False, "other_value") if other > 1 else (None, "no_value")


def _unequal(left: Expr, right: Expr, names: frozenset[str]) -> Decision:
    """They differ at a point; decimals, integer parameters and renamed parameters may still make them one."""
    digits = min(_decimal_digits(left), _decimal_digits(right))
    if 4 <= digits < 99:
        same, other = agreement(left, right, points(names, 4), 0.5 * 10 ** (1 - digits))
        if same >= 3 and not other:
            return True, "same_to_stated_digits"
    whole = bool({"floor", "ceil"} & (function_names(left) | function_names(right))) or _alternates(left, right)
    if whole and names <= _INTEGER_NAMES:
        return _whole_points(left, right, names)
    return _renamed(left, right)


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


def _renamed(left: Expr, right: Expr) -> Decision:
    """pi/6 + n pi is pi/6 + k pi: an integer parameter may have any of its usual names."""
    only_left, only_right = free_symbols(left) - free_symbols(right), free_symbols(right) - free_symbols(left)
    if len(only_left) == len(only_right) == 1 and only_left <= _INTEGER_NAMES and only_right <= _INTEGER_NAMES:
        renamed = rename(left, next(iter(only_left)), next(iter(only_right)))
        same, other = agreement(renamed, right, points(free_symbols(right), 4), RELATIVE)
        if same >= 3 and not other:
            return (
                (True, "renamed_parameter")
                if _mentions_pi(left) or _mentions_degree(left)
                else (None, "renamed_symbol")
            )
    return False, "other_value"


def _mentions_degree(expr: Expr) -> bool:
    return expr.op == "degree" or any(_mentions_degree(arg) for arg in children(expr))


def _infinite(expr: Expr) -> int:
    """1 for infinity, -1 for minus infinity, 0 for anything else."""
    if expr.op == "neg":
        return -_infinite(expr.args[0])
    return int(expr.op == "const" and expr.value == "inf")


def float_of(expr: Expr) -> float:
    """The real value of a constant tree. Raises Undecided."""
    if expr == Expr("const", (), "inf"):
        return math.inf
    if expr == Expr("neg", (Expr("const", (), "inf"),)):
        return -math.inf
    value = approximate(expr, {})
    if abs(value.imag) > 1e-9:
        raise Undecided("not real")
    return value.real
