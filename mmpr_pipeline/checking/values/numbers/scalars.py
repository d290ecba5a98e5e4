"""Are two scalars one? Units, degrees and percent here; bare values in `constants` and `at_points`."""

from __future__ import annotations

import re
from contextlib import suppress
from fractions import Fraction

from mmpr_pipeline.checking.values.expression import (
    CALCULUS_OPS,
    Context,
    Decision,
    Expr,
    free_symbols,
    number_leaf,
    operations,
    rename,
)
from mmpr_pipeline.checking.values.numbers.at_points import compare_expressions
from mmpr_pipeline.checking.values.numbers.calculus import TooLong, compare_limit, written_out
from mmpr_pipeline.checking.values.numbers.constants import compare_constants, mentions_pi, stated
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact
from mmpr_pipeline.checking.values.numbers.units import (
    UNIT_LETTERS,
    asked_unit,
    compare_units,
    is_counter,
    parse_unit,
    perhaps_another_unit,
)


def compare_scalars(left: Expr, right: Expr, context: Context) -> Decision:
    """Decide whether the prediction's scalar `left` is the gold's scalar `right`."""
    if left == right:
        return True, "same_tree"
    left, right = _percent_in_words(left), _percent_in_words(right)
    if {left.op, right.op} & {"quantity", "degree", "percent"}:
        return _compare_dressed(left, right, context)
    if CALCULUS_OPS & (operations(left) | operations(right)):
        # Short series written out, limits by values; what is left is for the symbolic worker (rule `calculus`).
        try:
            first, second = written_out(left), written_out(right)
        except TooLong:
            return None, "series_too_long"
        if CALCULUS_OPS & (operations(first) | operations(second)):
            return compare_limit(first, second)
        return compare_scalars(first, second, context)
    names, gold_names = free_symbols(left), free_symbols(right)
    if not names and not gold_names:
        return compare_constants(left, right, context)
    constant, gold_constant = _integration_constant(left), _integration_constant(right)
    if constant and gold_constant and constant != gold_constant:
        left = rename(left, constant, gold_constant)
        names = free_symbols(left)
    decision, rule = compare_expressions(left, right)
    if decision is False and len(names - gold_names) == len(gold_names - names) == 1:
        # In doubt where only a parameter has another letter, one that the question does not have: `3t - 32`, `3x
        # - 32`.
        (ours,), (gold,) = free_symbols(left) - free_symbols(right), free_symbols(right) - free_symbols(left)
        clock = re.search(rf"(?<![A-Za-z\\]){re.escape(ours)}(?![A-Za-z])", context.question) or not context.question
        if ours not in _PARAMETERS or left.op == "sym" or clock:
            return False, "other_value"
        same = compare_expressions(rename(left, ours, gold), right)[0]
        return (None, "renamed_symbol") if same else (False, "other_value")
    if decision is False and bool(names) != bool(gold_names):
        return _hidden_unit(left, right, context)
    return decision, rule


def _integration_constant(expr: Expr) -> str:
    """`C` of `e^x + C`, by any of its letters, where it stands nowhere else; empty without one."""
    terms = [term for term in expr.args if term.op == "sym" and term.value in _CONSTANTS] if expr.op == "add" else []
    if len(terms) != 1:
        return ""
    rest = Expr("add", tuple(term for term in expr.args if term is not terms[0]))
    return "" if terms[0].value in free_symbols(rest) or not free_symbols(rest) else str(terms[0].value)


_CONSTANTS = frozenset("cCkK")
_PARAMETERS = frozenset("tskmncC")


def _letter(expr: Expr) -> object:
    """The letter of `m` or `m^2`."""
    base = expr.args[0] if expr.op == "pow" else expr
    return base.value if base.op == "sym" else ""


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


def _percent_in_words(expr: Expr) -> Expr:
    """`12 percent` as 12%, `30 degrees` as 30°, and a sign within the quantity."""
    if expr.op == "neg" and expr.args[0].op in ("quantity", "percent", "degree"):
        inner = expr.args[0]
        return _percent_in_words(inner._replace(args=(Expr("neg", inner.args),)))
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
    return expr, ""


def _compare_dressed(left: Expr, right: Expr, context: Context) -> Decision:
    (bare_left, unit_left), (bare_right, unit_right) = _dressing(left), _dressing(right)
    if unit_left == unit_right:
        return compare_scalars(bare_left, bare_right, context)
    if unit_left and unit_right:
        return _compare_with_units(bare_left, unit_left, bare_right, unit_right, context)
    unit = unit_left or unit_right
    if unit == "%":
        # 30% is 0.3. A bare 30 is 30% only where the question speaks of percent; then a bare 0.3 is in doubt.
        as_number, _ = compare_scalars(bare_left, bare_right, context)
        as_share, rule = _constant_values(left, right, context)
        if context.asks_rate() and as_number and left.op == "percent":
            return True, "percent_asked"
        if context.asks_percent() or context.unit == "%":
            if as_number:
                return True, "percent_asked"
            if as_share and "div" in (bare_left.op, bare_right.op):
                return True, "percent_as_fraction"
            return (False, "other_value") if as_share is False is as_number else (None, "percent_or_share")
        if as_share:
            return True, "percent_value"
        doubt = as_number or as_share is None or (left.op == "percent" and _within(left, right, 0.005))
        return (None, "percent_or_number") if doubt else (False, rule)
    if unit == "degree":
        # 60 degrees is a bare 60, and pi/3 where the bare one speaks of pi.
        if mentions_pi(bare_right if left.op == "degree" else bare_left):
            return _constant_values(left, right, context)
        same, rule = compare_scalars(bare_left, bare_right, context)
        radians = same is False and _constant_values(left, right, context)[0] is not False
        return (None, "degrees_or_radians") if radians else (same, rule)
    plain = bare_right if unit_left else bare_left
    if plain.op in ("sym", "text") or free_symbols(plain) != free_symbols(bare_left if unit_left else bare_right):
        return _letter_unit(bare_left, unit_left, bare_right, unit_right, context)
    if not unit_right and context.unit and unit_left:
        return _compare_with_units(bare_left, unit_left, bare_right, context.unit, context)
    decision = compare_scalars(bare_left, bare_right, context)
    if decision[0] is False and unit_right and _in_another_unit(bare_left, bare_right, unit):
        decision = None, "perhaps_another_unit"
    return decision if unit_right else _as_asked(decision, bare_left, unit_left, bare_right, context)


def _in_another_unit(bare: Expr, gold: Expr, unit: str) -> bool:
    """A bare 14 for `2 weeks`: it may count days."""
    try:
        value, other = exact(bare), exact(gold)
    except (NotRational, Undecided):
        return False
    return other != 0 and perhaps_another_unit(unit, value / other)


def _as_asked(decision: Decision, left: Expr, unit: str, right: Expr, context: Context) -> Decision:
    """The gold is bare, the prediction in a unit: the unit that the question asks for, where it does, must agree."""
    asked = asked_unit(context.question)
    own = parse_unit(unit)
    if asked is None or own is None or asked.dimensions != own.dimensions or asked.worth == own.worth:
        return decision
    converted, _ = _compare_with_units(left, unit, right, asked.name, context)
    if converted:
        return True, "converted_to_asked_unit"
    return (None, "other_unit_than_asked") if decision[0] else (converted, "other_value")


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
    kelvin = (in_kelvin(left, unit_left), in_kelvin(right, unit_right))
    if kelvin[0] is not None and kelvin[1] is not None:
        return _compare_temperatures(kelvin[0], kelvin[1])
    same, worth = compare_units(unit_left, unit_right)
    if same is False and {unit_left.strip(), unit_right.strip()} == {"F", "C"}:  # no farads and coulombs
        left_degrees, right_degrees = (
            in_kelvin(v, f"deg{u.strip()}") for v, u in ((left, unit_left), (right, unit_right))
        )
        if left_degrees is not None and right_degrees is not None:
            return _compare_temperatures(left_degrees, right_degrees)
    if same is False:
        return False, "other_unit"
    if same is None:  # what is not known to be another unit may be another name of the same
        return None, "unknown_unit"
    if worth == 1:
        return compare_scalars(left, right, context)
    try:
        converted = Expr("num", (), exact(left) * worth)  # one literal, so that it keeps a precision
    except (NotRational, Undecided):
        converted = Expr("mul", (Expr("num", (), worth), left))
    decision, rule = compare_scalars(converted, right, context)
    if decision is not False:
        return decision, "converted_unit"
    if stated(left) is not None:
        # `72.42 km/h` is 45 mph: the gold, in the prediction's unit, rounds to the digits that the prediction has.
        with suppress(NotRational, Undecided):
            if compare_constants(left, number_leaf(exact(right) / worth), context)[0]:
                return True, "converted_and_rounded"
    return (None, "converted_and_rounded") if _within(converted, right, 0.01) else (False, rule)


def in_kelvin(value: Expr, unit: str) -> Fraction | None:
    """A temperature of a scale; None for anything else."""
    known = parse_unit(unit)
    scale = known.dimensions[0][0] if known is not None and len(known.dimensions) == 1 else ""
    if known is None or scale not in ("celsius", "fahrenheit", "K") or known.dimensions[0][1] != 1:
        return None
    try:
        degrees = exact(value) * known.worth
    except (NotRational, Undecided):
        return None
    if scale == "K":
        return degrees
    return degrees + Fraction("273.15") if scale == "celsius" else (degrees + Fraction("459.67")) * 5 / 9


def _compare_temperatures(left: Fraction, right: Fraction) -> Decision:
    """Equal to a hundredth; in doubt to one degree, where a rounded 273 was added."""
    gap = abs(left - right)
    if gap <= Fraction(1, 100):
        return True, "converted_temperature"
    return (None, "converted_and_rounded") if gap <= 1 else (False, "other_value")


def _within(left: Expr, right: Expr, share: float) -> bool:
    """Whether two constants differ by a small share of the gold, which careless rounding may have brought about."""
    try:
        one, other = approximate(left, {}), approximate(right, {})
    except Undecided:
        return False
    return abs(one - other) <= share * max(abs(other), 0.1)


def _constant_values(left: Expr, right: Expr, context: Context) -> Decision:
    if free_symbols(left) or free_symbols(right):
        return compare_expressions(left, right)
    return compare_constants(left, right, context)
