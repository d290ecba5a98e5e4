"""The bounded expression tree that the parser builds and every later rule reads; what is known of the question when two
trees are compared (`Context`), and the form of a decision.

A tree is plain frozen data: an operation, its arguments, and for leaves a value. It never holds code, and the bounds
below hold for every tree that the parser returns, so that what walks it needs no bounds of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

MAX_CHARS = 40_000  # Longest text that is parsed at all.
MAX_TOKENS = 30_000
MAX_DEPTH = 60  # Nesting of brackets, exponents and functions; Python's own stack stays far away.
MAX_CHAIN = 60  # Divisions, unions or factorials in one row, which nest the tree as brackets do.
MAX_SIZE = 1_500  # Nodes of an expression that is evaluated at points; constants may be as large as a text can be.
MAX_DIGITS = 1_000  # Digits of one number literal; Python itself refuses more than 4,300 in int().

# Operations whose value is a number, as opposed to a structure, a statement or a text.
SCALAR_OPS = frozenset(
    {"num", "sym", "const", "add", "mul", "div", "pow", "neg", "func", "apply", "fact", "base", "binom", "unknown"}
    | {"sum", "prod", "int", "lim", "diff", "percent", "degree", "quantity", "pm"}
)
CALCULUS_OPS = frozenset({"sum", "prod", "int", "lim", "diff"})


class Expr(NamedTuple):
    """One node. `value` is a Fraction (num), a name (sym, const, func), brackets (paren), or operators (rel)."""

    op: str
    args: tuple[Expr, ...] = ()
    value: object = None


class ParseError(Exception):
    """The text is not mathematics that we read, or is over a bound; the caller falls back or gives up."""


def number_leaf(value: Fraction | int, literal: str = "") -> Expr:
    """A rational leaf; `literal` keeps a decimal as it was written, so that its precision is known."""
    return Expr("num", (Expr("text", (), literal),) if literal else (), Fraction(value))


def symbol(name: str) -> Expr:
    """A free symbol."""
    return Expr("sym", (), name)


def literal_of(expr: Expr) -> str:
    """The digits of a decimal literal as written, '' for everything else."""
    return str(expr.args[0].value) if expr.op == "num" and expr.args else ""


def children(expr: Expr) -> tuple[Expr, ...]:
    """Arguments that are themselves mathematics (a literal's text is not)."""
    return () if expr.op == "num" else expr.args


def operators_of(expr: Expr) -> tuple[str, ...]:
    """The comparison signs of a relation, in order."""
    return tuple(str(operator) for operator in expr.value) if isinstance(expr.value, tuple) else ()


def operations(expr: Expr) -> frozenset[str]:
    """All operations in a tree."""
    found: set[str] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        found.add(node.op)
        stack.extend(children(node))
    return frozenset(found)


def tree_size(expr: Expr) -> int:
    """Number of nodes of a tree."""
    count, stack = 0, [expr]
    while stack:
        node = stack.pop()
        count += 1
        stack.extend(children(node))
    return count


def free_symbols(expr: Expr) -> frozenset[str]:
    """Names of all symbols in a tree, bound ones included."""
    found: set[str] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if node.op == "sym":
            found.add(str(node.value))
        stack.extend(children(node))
    return frozenset(found)


def function_names(expr: Expr) -> frozenset[str]:
    """Names of all functions in a tree, known and unknown ones."""
    found: set[str] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if node.op in ("func", "apply"):
            found.add(str(node.value))
        stack.extend(children(node))
    return frozenset(found)


def rename(expr: Expr, old: str, new: str) -> Expr:
    """The tree with one symbol renamed."""
    if expr.op == "sym":
        return symbol(new) if expr.value == old else expr
    if expr.op == "num":
        return expr
    return expr._replace(args=tuple(rename(arg, old, new) for arg in expr.args))


def substituted(expr: Expr, name: str, value: Expr) -> Expr:
    """The tree with an expression in the place of a symbol."""
    if expr.op == "sym":
        return value if expr.value == name else expr
    if expr.op == "num":
        return expr
    return expr._replace(args=tuple(substituted(arg, name, value) for arg in expr.args))


def constant_as_symbol(expr: Expr, name: str) -> Expr:
    """The tree with the constant i or e read as a symbol, where a series runs over it."""
    if expr.op == "const":
        return symbol(name) if expr.value == name else expr
    if expr.op == "num":
        return expr
    return expr._replace(args=tuple(constant_as_symbol(arg, name) for arg in expr.args))


def to_wire(expr: Expr) -> list[object]:
    """The tree as JSON-ready lists, for the symbolic worker."""
    value: object = expr.value
    if isinstance(value, Fraction):
        value = [str(value.numerator), str(value.denominator)]
    elif isinstance(value, tuple):
        value = list(value)
    return [expr.op, value, [to_wire(arg) for arg in children(expr)]]


_NUMBER_SETS = frozenset("ZNRQC")


def is_membership(expr: Expr) -> bool:
    """`k in Z`: a statement about a parameter, not an answer."""
    if expr.op != "rel" or expr.value != ("in",):
        return False
    known = expr.args[1]
    return known.op == "const" or (known.op == "sym" and str(known.value)[0] in _NUMBER_SETS)


# ---- what is known of the question

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
_POINT_WORDS = ("point", "coordinate", "ordered pair", "vertex", "intersect", "vector", "坐标", "点", "向量")
_PERCENT_WORDS = ("percent", "%", "百分")

_EXACT = re.compile(
    r"\b(?:what|which|as an?|simplified|common|reduced|improper|proper) (?:\w+ )?fraction\b"
    r"|\bsimplest (?:radical )?form\b"
    r"|\blowest terms\b|\bexact (?:value|answer|form)\b|\bin terms of (?:\\?\$?\\?pi|π|[a-z]\b)|\bsimplify\b|最简",
    re.IGNORECASE,
)
_RATE = re.compile(r"\b(?:rate|share|proportion|accuracy|probability|interest)\b", re.IGNORECASE)

Decision = tuple[bool | None, str]  # True, False, or None for in doubt; and the rule that decided.


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about the question: its text, and the precision and unit that its source states."""

    question: str = ""
    precision: float | None = None
    unit: str | None = None
    language: str = "en"

    def asks_rounding(self) -> bool:
        """Whether the question asks for a rounded value."""
        lower = self.question.lower()
        return any(word in lower for word in _ROUNDING_WORDS)

    def asks_exact(self) -> bool:
        """Whether the question asks for a fraction or another exact form, so that its rounded value is no answer."""
        return _EXACT.search(self.question) is not None and not self.asks_rounding()

    def asks_for(self, name: str) -> bool:
        """Whether the question asks for the value of a symbol."""
        asks = r"(?:value of|find|what is|what's|solve for|determine|calculate|求)\s?[$\\(]{0,3}"
        pattern = rf"{asks}{re.escape(name)}(?![A-Za-z_])"
        return bool(name) and re.search(pattern, self.question, re.IGNORECASE) is not None

    def asks_rate(self) -> bool:
        """Whether the question asks for a rate or a share: 70% and 70 are then one answer."""
        return _RATE.search(self.question) is not None

    def asks_base(self) -> bool:
        """Whether the question names a number base."""
        return "base" in self.question.lower() or "进制" in self.question

    def asks_point(self) -> bool:
        """Whether the question asks for a point or an ordered pair."""
        lower = self.question.lower()
        return any(word in lower for word in _POINT_WORDS)

    def asks_percent(self) -> bool:
        """Whether the question asks for, or speaks of, a percentage."""
        lower = self.question.lower()
        return any(word in lower for word in _PERCENT_WORDS)
