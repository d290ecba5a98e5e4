"""The child process of `symbolic`: reads trees as JSON, builds sympy expressions, answers whether they are equal.

What a comparison may cost is counted in calls of Python functions, from a cleared cache and a fixed seed: within one
percent the same on every machine and Python, idle or busy, whatever was compared before (see `prepare`). Processor time
bounds work that makes no calls. Run by path, so that it imports nothing of the package. It never parses text: every
node is built by a constructor that this file names. It ends when its input does.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from opcode import opmap
from types import FrameType
from typing import Any, BinaryIO

MAX_CALLS = 600_000
"""Calls of Python functions that one comparison may make: about half a second of sympy's time."""
MAX_REQUEST_BYTES = 4_000_000
MAX_TERMS = 10_000  # Longest finite series that is added up term by term.
AGAIN_S = 0.2
"""Processor seconds between two attempts to end work that swallows the exception which should have ended it."""
DIGITS = 40
RESUME = opmap["RESUME"]
_COMPREHENSIONS = frozenset(("<listcomp>", "<setcomp>", "<dictcomp>"))
_SAME_NAME = (
    *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot", "asec", "acsc"),
    *("sinh", "cosh", "tanh", "exp", "sqrt", "arg"),
)


class OverBudget(BaseException):
    """The comparison has made all the calls that it may; sympy catches no such thing."""


class Unsupported(Exception):
    """The tree has a part that this worker does not build."""


def limit_memory(megabytes: int) -> None:
    """Cap the address space of this process."""
    try:
        import resource
    except ImportError:  # Not a Unix: the clock is the only bound.
        return
    size = megabytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def build(node: list[Any]) -> Any:
    """The sympy expression of one node. Raises Unsupported."""
    import sympy

    op, value, raw = node
    if op == "num":
        return sympy.Rational(int(value[0]), int(value[1]))
    if op == "sym":
        return sympy.Symbol(str(value), real=True)
    if op == "const":
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "inf": sympy.oo}[value]
    if op in ("sum", "prod", "int", "lim"):
        return build_calculus(op, raw)
    args = [build(arg) for arg in raw]
    if op == "func":
        return build_function(str(value), args)
    if op == "apply":
        return sympy.Function(str(value))(*args)
    return build_arithmetic(op, args)


def build_arithmetic(op: str, args: list[Any]) -> Any:
    """Sums, products, quotients, powers, factorials and what else has only scalar arguments."""
    import sympy

    if op == "add":
        return sympy.Add(*args)
    if op == "mul":
        return sympy.Mul(*args)
    if op == "neg":
        return -args[0]
    if op == "div":
        return args[0] / args[1]
    if op == "pow":
        if args[1].is_Rational and abs(args[1].p) > 10_000:
            raise Unsupported("exponent")
        return sympy.Pow(args[0], args[1])
    if op == "percent":
        return args[0] / 100
    if op == "degree":
        return args[0] * sympy.pi / 180
    if op == "fact":
        return sympy.factorial(args[0])
    if op == "binom":
        return sympy.binomial(args[0], args[1])
    raise Unsupported(op)


def build_function(name: str, args: list[Any]) -> Any:
    """A named function of sympy's, from a fixed table."""
    import sympy

    if name == "log10" or name == "log":
        return sympy.log(args[0], 10)
    table = {
        "ln": sympy.log, "abs": sympy.Abs, "max": sympy.Max, "min": sympy.Min, "ceil": sympy.ceiling,
        "floor": sympy.floor, "sgn": sympy.sign, "gcd": sympy.gcd, "lcm": sympy.lcm,
    }  # fmt: skip
    for known in _SAME_NAME:
        table[known] = getattr(sympy, known)
    if name not in table:
        raise Unsupported(name)
    return table[name](*args)


def build_calculus(op: str, raw: list[Any]) -> Any:
    """A series, integral or limit, not yet worked out."""
    import sympy

    args = [build(arg) for arg in raw]
    variable = args[0]
    if not isinstance(variable, sympy.Symbol):
        raise Unsupported("variable")
    if op == "int":
        return sympy.Integral(args[1], (variable, *args[2:])) if len(args) == 4 else sympy.Integral(args[1], variable)
    if op == "lim":
        return sympy.Limit(args[2], variable, args[1], "+-" if args[1].is_finite else "+")
    start, stop, body = args[1:]
    series = sympy.Sum if op == "sum" else sympy.Product
    return series(body, (variable, start, stop))


def numeric(expr: Any) -> Any:
    """The value of a constant expression to DIGITS digits; None when sympy finds none."""
    import sympy

    if isinstance(expr, sympy.Limit):
        return limit_value(expr)
    if isinstance(expr, sympy.Sum | sympy.Product):
        expr = series_value(expr)
    value = sympy.N(expr, DIGITS, maxn=400)
    return value if value.is_number and value.is_finite and not value.has(sympy.Integral, sympy.Sum) else None


def series_value(expr: Any) -> Any:
    """A short finite series term by term; any other as sympy sums it."""
    import sympy

    variable, start, stop = expr.limits[0]
    if start.is_Integer and stop.is_Integer and 0 <= stop - start <= MAX_TERMS:
        terms = [expr.function.subs(variable, k) for k in range(int(start), int(stop) + 1)]
        return sympy.Add(*terms) if isinstance(expr, sympy.Sum) else sympy.Mul(*terms)
    if isinstance(expr, sympy.Sum) and start.is_Integer and stop.is_Integer:
        value, error = expr.euler_maclaurin(m=20, n=8, eval_integral=True)
        return value if sympy.N(error, 15) < 1e-20 else sympy.nan
    return expr.doit()


def limit_value(expr: Any) -> Any:
    """A limit at a finite point by values near it, when they settle from both sides; else by sympy's own algorithm."""
    import mpmath
    import sympy

    body, variable, target, _ = expr.args
    if target.is_finite and not body.has(sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit):
        function = sympy.lambdify(variable, body, "mpmath")
        with mpmath.workdps(260):
            base = mpmath.mpmathify(sympy.N(target, 260))
            near = [function(base + sign * mpmath.mpf(10) ** -k) for sign in (1, -1) for k in (14, 16)]
            spread = max(abs(value - near[1]) for value in near)
            if spread < mpmath.mpf(10) ** -12 * max(1, abs(near[1])):
                return sympy.Float(near[1], 20)
    value = expr.doit()
    return sympy.N(value, DIGITS) if value.is_number and value.is_finite else None


def same(left: Any, right: Any) -> tuple[bool | None, str]:
    """Whether two expressions are equal: by value where they are constants, else by simplification."""
    import sympy

    if not left.free_symbols and not right.free_symbols:
        one, other = numeric(left), numeric(right)
        if one is None or other is None:
            return None, "sympy_no_value"
        near = isinstance(left, sympy.Limit) or isinstance(right, sympy.Limit)
        gap, scale = abs(one - other), max(abs(one), abs(other), 1)
        if gap <= scale * sympy.Float(10) ** (-10 if near else 12 - DIGITS):
            return True, "sympy_limit" if near else "sympy_value"
        return (False, "sympy_value") if gap > scale * sympy.Float(10) ** -9 else (None, "sympy_too_close")
    left, right = left.doit(), right.doit()
    difference = left - right
    if difference == 0 or sympy.simplify(difference) == 0:
        return True, "sympy_simplify"
    return differs(difference)


def differs(difference: Any) -> tuple[bool | None, str]:
    """A difference that is plainly not zero at a few points settles it (constants of integration are left open)."""
    import sympy

    if difference.has(sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit):
        return None, "sympy_unsolved"
    symbols = sorted(difference.free_symbols, key=str)
    for shift in (0, 1, 2):
        values = {s: sympy.Rational(13 + 7 * i + 5 * shift, 11) for i, s in enumerate(symbols)}
        value = sympy.N(difference.subs(values), 20)
        if value.is_number and value.is_finite and abs(value) > 1e-9:
            return False, "sympy_value"
    return None, "sympy_undecided"


def answer(payload: bytes, patience_s: float) -> tuple[bool | None, str]:
    """The reply to one request; never raises."""
    try:
        left, right = json.loads(payload)
        give_up_with(TimeoutError, patience_s)
        with budget(MAX_CALLS):
            return same(build(left), build(right))
    except OverBudget:
        return None, "over_budget"
    except TimeoutError:
        return None, "timeout"
    except Unsupported as error:
        return None, f"sympy_unsupported:{error}"
    except MemoryError:
        return None, "memory"
    except Exception as error:  # Whatever sympy raises on hostile input costs one verdict, not the worker.
        return None, f"sympy_{type(error).__name__}"
    finally:
        give_up_with(None)


@contextmanager
def budget(most: int) -> Iterator[None]:
    """Raise OverBudget within the block once it has made `most` calls of Python functions, at its end at the latest.

    A generator that goes on counts as a call; one that is closed does not, nor does a comprehension: Python 3.12 and
    later report neither. The exception is raised once: what ends the block makes calls too. sympy and the interpreter
    drop it here and there (a bare except, a finaliser), so the processor's timer raises it again.
    """
    from sympy.core.cache import clear_cache
    from sympy.core.random import seed

    clear_cache()
    seed(0)  # sympy asks about assumptions in a shuffled order, and tries expressions at random points
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == most + 1:
            give_up_with(OverBudget, AGAIN_S)
            raise OverBudget

    def count_frame(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        if event == "call":
            code = frame.f_code
            if code.co_code[frame.f_lasti] == RESUME and code.co_name not in _COMPREHENSIONS:
                calls += 1
                if calls > most:  # Python 3.11 stops calling this once it has raised.
                    give_up_with(OverBudget, AGAIN_S)
                    raise OverBudget

    monitoring = getattr(sys, "monitoring", None)
    tool = monitoring.PROFILER_ID if monitoring else 0
    if monitoring is None:  # before Python 3.12
        sys.setprofile(count_frame)
    else:
        if monitoring.get_tool(tool) is None:
            monitoring.use_tool_id(tool, "mmpr-budget")  # kept: there is one comparison after the other
        counted = (monitoring.events.PY_START, monitoring.events.PY_RESUME)
        for event in counted:
            monitoring.register_callback(tool, event, count)
        monitoring.set_events(tool, sum(counted))
    try:
        yield
    finally:
        if monitoring is None:
            sys.setprofile(None)
        else:
            monitoring.set_events(tool, 0)
        give_up_with(None)
    if calls > most:
        raise OverBudget


def give_up_with(error: type[BaseException] | None, after_s: float = 0.0) -> None:
    """Raise `error` after these seconds of processor time, and again until it ends the work; None takes it back.

    It bounds what makes no calls, at no restart; the parent kills what does not heed it.
    """
    global _reason
    _reason = error
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, after_s, AGAIN_S if error else 0.0)


_reason: type[BaseException] | None = None


def give_up(*_: object) -> None:
    """The timer's handler."""
    if _reason is not None:
        raise _reason


def prepare() -> None:
    """Load what sympy makes on first need, so that no comparison pays for it.

    Its tables of hypergeometric functions and of integrals cost 250,000 calls. numpy and scipy are hidden: sympy would
    import them on the way where they are installed.
    """
    for hidden in ("numpy", "scipy"):
        sys.modules[hidden] = None  # type: ignore[assignment]
    import sympy

    sympy.Dummy._base_dummy_index = 0  # else drawn at random; hashes and so the order of work follow it
    x = sympy.Symbol("x", real=True)
    sympy.simplify(x - 1)
    sympy.Sum(1 / sympy.factorial(x), (x, 1, sympy.oo)).doit()
    sympy.Integral(sympy.exp(-x), (x, 0, sympy.oo)).doit()


def send(stream: BinaryIO, reply: object) -> None:
    """Write one length-prefixed JSON message."""
    payload = json.dumps(reply).encode()
    stream.write(struct.pack(">I", len(payload)) + payload)
    stream.flush()


def serve() -> None:
    """Answer requests until the input ends."""
    limit_memory(int(sys.argv[1]))
    sys.setrecursionlimit(3_000)
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, give_up)
    prepare()
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    send(stdout, "ready")
    while header := stdin.read(4):
        (size,) = struct.unpack(">I", header)
        if size > MAX_REQUEST_BYTES:
            return
        send(stdout, answer(stdin.read(size), float(sys.argv[2])))


if __name__ == "__main__":
    serve()
