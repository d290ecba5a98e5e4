"""Our own reader of LaTeX and plain mathematics: text to a bounded tree, or a ParseError; nothing is ever executed.

Recursive descent over `latex_tokens`. From loose to tight: list (comma, and, or), relation chain, ratio, set union,
sum, product (also implicit), sign, power, operand. Whatever is not plainly mathematics raises ParseError.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mmpr_pipeline.checking.reading.latex.arithmetic import Arithmetic
from mmpr_pipeline.checking.reading.latex.tokens import (
    CONNECTIVES,
    DISJUNCTIONS,
    NEUTRAL_WORDS,
    RELATIONS,
    fold_latex,
    is_condition,
    tokenise,
)
from mmpr_pipeline.checking.values.expression import Expr, ParseError, free_symbols

_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|dot|bar)\s*\{?(\d+)\}?(?:\\dot\s*\{?(\d)\}?)?")


class Parser(Arithmetic):
    """The grammar from lists down to unions; the classes below it read arithmetic, units, commands and operands."""

    def answer(self) -> Expr:
        """The whole text: one statement, or a list of them."""
        self.connective = ""
        items = self.items()
        if self.now.kind != "end":
            raise ParseError(f"left over: {self.now.text[:20]}")
        if not items:
            raise ParseError("empty")
        return items[0] if len(items) == 1 else Expr("list", tuple(items), self.connective)

    def items(self) -> list[Expr]:
        items: list[Expr] = []
        while True:
            while self.separator():
                pass
            if self.now.kind in ("end", "rowsep") or self.now.text in (
                ")",
                "]",
                "}",
                r"\}",
                r"\rangle",
                r"\rfloor",
                "&",
            ):
                return items
            if items and self.condition_ahead():
                self.at = len(self.tokens) - 1
                return items
            items.append(self.statement())
            if self.condition_ahead():
                self.at = len(self.tokens) - 1
            if not self.separator():
                return items

    def separator(self) -> bool:
        token = self.now
        if token.text in (",", ";") or (token.kind in ("text", "word") and token.text.strip().lower() in CONNECTIVES):
            self.at += 1
            if token.text not in (",", ";"):
                self.connective = "or" if token.text.strip().lower() in DISJUNCTIONS else "and"
            return True
        if token.text == "." and self.peek().kind == "end":
            self.at += 1
            return True
        return False

    def condition_ahead(self) -> bool:
        """`where n is an integer`, `for all x`: what an answer holds under, and no part of it."""
        return self.now.kind in ("text", "word") and is_condition(self.now.text)

    def statement(self) -> Expr:
        self.enter()
        self.skip_label()
        self.accept("=", r"\approx")
        result = self.relation()
        self.depth -= 1
        return result

    def skip_label(self) -> None:
        """Drop `Minimum:` and neutral words such as `only`; a word that could change the meaning stays."""
        while self.now.kind in ("word", "text") and self.now.text.strip().lower() in NEUTRAL_WORDS:
            if self.peek().kind == "end":
                return
            self.at += 1
            self.accept(":")
        ahead = 0
        while self.peek(ahead).kind in ("word", "text") and ahead < 4:
            ahead += 1
        if ahead and self.peek(ahead).text == ":" and len(self.now.text) > 2:
            self.at += ahead + 1

    def relation(self) -> Expr:
        sides, operators = [self.ratio()], []
        while True:
            operator = self.relation_operator()
            if operator is None:
                break
            side = self.ratio()
            if operator == "approx" and (len(sides) > 1 or not free_symbols(sides[0])):
                continue  # A value and its approximation; `x \\approx 3` gives the value itself.
            sides.append(side)
            operators.append("=" if operator == "approx" else operator)
        if self.now.text in (r"\pmod", r"\bmod", r"\mod", "mod") or (
            self.now.text == "(" and self.peek().text == "mod"
        ):
            return self.residue(sides[-1])
        return sides[0] if len(sides) == 1 else Expr("rel", tuple(sides), tuple(operators))

    def residue(self, value: Expr) -> Expr:
        """`3 \\pmod 5`: a residue and its modulus; what it is congruent to does not matter."""
        bracketed = self.accept("(")
        command = self.take().text
        modulus = self.argument() if command == r"\pmod" else self.factor()
        if bracketed:
            self.expect(")")
        return Expr("residue", (value, modulus))

    def relation_operator(self) -> str | None:
        token = self.now
        if token.text == r"\not":
            self.at += 1
            inner = RELATIONS.get(self.take().text)
            if inner not in ("=", "in"):
                raise ParseError("not")
            return "!=" if inner == "=" else "notin"
        operator = RELATIONS.get(token.text) if token.kind in ("rel", "cmd") else None
        if operator is not None:
            self.at += 1
        return operator

    def ratio(self) -> Expr:
        parts = [self.union()]
        while self.now.text == ":" and self.now.kind == "other" and not self.braces:
            self.at += 1
            parts.append(self.union())
        return parts[0] if len(parts) == 1 else Expr("ratio", tuple(parts))

    def union(self) -> Expr:
        left = self.sum()
        chain = 0
        while self.now.text in (r"\cup", r"\cap", r"\setminus", r"\backslash"):
            operator = self.take().text
            chain = self.bounded(chain)
            op = {r"\cup": "union", r"\cap": "intersect"}.get(operator, "setminus")
            left = Expr(op, (left, self.sum()))
        return left


def _repeating(match: re.Match[str]) -> str:
    """`0.1\\overline{6}` as an exact fraction."""
    whole, fixed, cycle = match[1] or "0", match[2], match[3] + (match[4] or "")
    bottom = (10 ** len(cycle) - 1) * 10 ** len(fixed)
    top = int(whole + fixed + cycle) - int(whole + fixed)
    return rf"\frac{{{top}}}{{{bottom}}}"


@lru_cache(maxsize=4096)
def parse_latex(text: str) -> Expr:
    """The tree of an answer's text. Raises ParseError when it is not mathematics that we read, or over a bound."""
    folded = fold_latex(text)
    if len(folded) < 500 and any(mark in folded for mark in (r"\overline", r"\dot", r"\bar")):
        folded = _REPEATING.sub(_repeating, folded)
    try:
        return Parser(tokenise(folded)).answer()
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ParseError(type(error).__name__) from error
