"""Values of trees: complex floats at given points, principal branches, and fifty digits for constants that agree as
floats (262537412640768744 is not e^(pi sqrt(163))). Bounded, and never raising but `Undecided`.
"""

from __future__ import annotations

import cmath
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from mmpr_pipeline.checking.values.expression import Expr
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided, exact, rational

_LIMIT = 1e280


def approximate(expr: Expr, point: Mapping[str, complex]) -> complex:
    """The value of a tree at `point` (symbol -> number), principal branches. Raises Undecided."""
    try:
        value = _value(expr, point)
    except (OverflowError, ZeroDivisionError, ValueError, ArithmeticError) as error:
        raise Undecided(type(error).__name__) from error
    if not cmath.isfinite(value) or abs(value) > _LIMIT:
        raise Undecided("not finite")
    return value


def magnitude(expr: Expr, point: Mapping[str, complex]) -> float:
    """How large the parts of a tree are, cancellation left out: what rounding errors are to be measured against."""
    try:
        return _magnitude(expr, point)
    except (OverflowError, ZeroDivisionError, ValueError, ArithmeticError) as error:
        raise Undecided(type(error).__name__) from error


def _magnitude(expr: Expr, point: Mapping[str, complex]) -> float:
    if expr.op == "add":
        return sum(_magnitude(arg, point) for arg in expr.args)
    if expr.op == "neg":
        return _magnitude(expr.args[0], point)
    if expr.op == "mul":
        return math.prod(_magnitude(arg, point) for arg in expr.args)
    if expr.op == "div":
        return _magnitude(expr.args[0], point) / abs(_value(expr.args[1], point))
    return abs(_value(expr, point))


def same_value(left: Expr, right: Expr, point: Mapping[str, complex], tolerance: float) -> bool:
    """Whether two trees agree at a point, to a relative tolerance or within their rounding errors. Raises Undecided."""
    one, two = approximate(left, point), approximate(right, point)
    if cmath.isclose(one, two, rel_tol=tolerance):
        return True
    return abs(one - two) <= 1e-13 * max(magnitude(left, point), magnitude(right, point))


def _value(expr: Expr, point: Mapping[str, complex]) -> complex:
    op, args = expr.op, expr.args
    if op == "num":
        return complex(rational(expr))
    if op == "sym":
        try:
            return point[str(expr.value)]
        except KeyError:
            raise Undecided("free symbol") from None
    if op == "const":
        return _constant(str(expr.value))
    if op == "add":
        return sum((_value(arg, point) for arg in args), 0j)
    if op == "neg":
        return 0j - _value(args[0], point)
    if op == "mul":
        product = 1 + 0j
        for arg in args:
            product *= _value(arg, point)
        return product
    if op == "div":
        return _value(args[0], point) / _value(args[1], point)
    if op == "pow":
        return _power(args[0], args[1], point)
    if op == "func":
        return _function(str(expr.value), [_above(_value(arg, point)) for arg in args])
    if op == "degree":
        return _value(args[0], point) * (math.pi / 180)
    if op == "percent":
        return _value(args[0], point) / 100
    if op == "fact":
        return _gamma(_value(args[0], point) + 1)
    if op == "binom":
        top, bottom = (_value(arg, point) for arg in args)
        return _gamma(top + 1) / (_gamma(bottom + 1) * _gamma(top - bottom + 1))
    if op == "apply":
        # A stand-in for an unknown function: smooth, fixed by its name, so f(x) equals f(y) only where x equals
        # y.
        name = str(expr.value)
        unknown_args = [_value(arg, point) for arg in args]
        seed = zlib.crc32(name.encode()) % 9973 / 9973 + 0.3
        total = sum((seed + 0.37 * (index + 1)) * arg for index, arg in enumerate(unknown_args))
        return cmath.sin(total + seed) + 0.17 * total + 2.0 + seed
    if op == "base":
        return complex(exact(expr))
    raise Undecided(op)


def _constant(name: str) -> complex:
    if name == "pi":
        return complex(math.pi)
    if name == "e":
        return complex(math.e)
    if name == "i":
        return 1j
    raise Undecided(name)


def _power(base: Expr, exponent: Expr, point: Mapping[str, complex]) -> complex:
    value, power = _above(_value(base, point)), _value(exponent, point)
    if power.imag == 0 and power.real == int(power.real) and abs(power.real) < 1e6:
        return value ** int(power.real)
    if value.imag == 0 and value.real < 0:
        # A written rational exponent with an odd denominator: schoolbooks take the real root of a negative.
        try:
            written = exact(exponent)
        except (NotRational, Undecided):
            return value**power
        if written.denominator % 2 == 1:
            return -((-value) ** power) if written.numerator % 2 == 1 else (-value) ** power
    return value**power


def _above(value: complex) -> complex:
    """A real with a negative zero for its imaginary part would fall on the wrong side of a branch cut."""
    return value if value.imag else complex(value.real, 0.0)


def _gamma(value: complex) -> complex:
    if abs(value.imag) > 1e-12:
        raise Undecided("gamma")
    return complex(math.gamma(value.real))


def _function(name: str, args: list[complex]) -> complex:
    if len(args) == 1 and name in _COMPLEX:
        return _COMPLEX[name](args[0])
    if any(abs(arg.imag) > 1e-9 for arg in args):
        raise Undecided("not real")
    reals = [arg.real for arg in args]
    if name in ("max", "min") and reals:
        return complex(max(reals) if name == "max" else min(reals))
    if len(reals) == 1 and name in ("floor", "ceil", "sgn"):
        value = reals[0]
        rounded = round(value)
        if name == "sgn":
            return complex((value > 0) - (value < 0))
        if abs(value - rounded) < 1e-9:
            return complex(rounded)
        return complex(math.floor(value) if name == "floor" else math.ceil(value))
    raise Undecided(name)


_COMPLEX: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "ln": cmath.log, "log": cmath.log10, "log10": cmath.log10,
    "exp": cmath.exp, "asin": cmath.asin, "acos": cmath.acos, "atan": cmath.atan, "sinh": cmath.sinh,
    "cosh": cmath.cosh, "tanh": cmath.tanh, "abs": lambda z: complex(abs(z)), "sqrt": cmath.sqrt,
    "cot": lambda z: 1 / cmath.tan(z), "sec": lambda z: 1 / cmath.cos(z), "csc": lambda z: 1 / cmath.sin(z),
    "acot": lambda z: cmath.atan(1 / z), "asec": lambda z: cmath.acos(1 / z), "acsc": lambda z: cmath.asin(1 / z),
    "arg": lambda z: complex(cmath.phase(z)),
}  # fmt: skip


# ---- fifty digits

DIGITS = 50
_MAX_EXPONENT = 100_000


def same_to_fifty_digits(left: Expr, right: Expr) -> bool | None:
    """Whether two constant trees agree to fifty digits; None when one of them cannot be worked out."""
    import mpmath  # Imported here: most answers never need it.

    context = mpmath.mp.clone()  # A context of our own: threads must not share the precision.
    context.dps = DIGITS + 15
    try:
        one, other = precise_value(left, context), precise_value(right, context)
        scale = max(magnitude(left, {}), magnitude(right, {}))
        return bool(abs(one - other) <= scale * context.mpf(10) ** -DIGITS)
    except (ArithmeticError, ValueError, TypeError, NotRational, Undecided, NotImplementedError):
        return None


def precise_value(expr: Expr, mp: Any) -> Any:
    """The value of a constant tree in an mpmath context. Raises Undecided, NotRational and what mpmath raises."""
    op, args = expr.op, expr.args
    if op == "num":
        return mp.mpf(expr.value.numerator) / expr.value.denominator  # type: ignore[attr-defined]
    if op == "const":
        return {"pi": mp.pi, "e": mp.e, "i": mp.j}[str(expr.value)] * 1
    if op == "add":
        return sum((precise_value(arg, mp) for arg in args), mp.mpf(0))
    if op == "neg":
        return -precise_value(args[0], mp)
    if op == "mul":
        product = mp.mpf(1)
        for arg in args:
            product *= precise_value(arg, mp)
        return product
    if op == "div":
        return precise_value(args[0], mp) / precise_value(args[1], mp)
    if op == "pow":
        base = args[0]
        exponent = args[1]
        value, power = precise_value(base, mp), precise_value(exponent, mp)
        if abs(power) > _MAX_EXPONENT:
            raise Undecided("too large")
        try:
            ratio = exact(exponent)
        except (NotRational, Undecided):
            return value**power
        if ratio.denominator % 2 == 1 and ratio.denominator > 1 and mp.im(value) == 0 and mp.re(value) < 0:
            root = (-value) ** power
            return -root if ratio.numerator % 2 else root
        return value**power
    if op == "degree":
        return precise_value(args[0], mp) * mp.pi / 180
    if op == "percent":
        return precise_value(args[0], mp) / 100
    if op == "func" and len(args) == 1:
        name = str(expr.value)
        value = precise_value(args[0], mp)
        if abs(value) > _MAX_EXPONENT and name in ("exp", "sinh", "cosh"):
            raise Undecided("too large")
        if name in ("floor", "ceil", "sgn", "det", "arg"):
            raise NotRational
        return getattr(mp, {"abs": "fabs"}.get(name, name))(value) if name != "log" else mp.log(value, 10)
    exact_value = exact(expr)
    return mp.mpf(exact_value.numerator) / exact_value.denominator
