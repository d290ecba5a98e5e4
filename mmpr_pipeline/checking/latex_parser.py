"""Our own reader of LaTeX and plain mathematics: text to a bounded tree, or a ParseError; nothing is ever executed.

Recursive descent over `latex_tokens`. From loose to tight: list (comma, and, or), relation chain, ratio, set union,
sum, product (also implicit), sign, power, operand. Whatever is not plainly mathematics raises ParseError.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mmpr_pipeline.checking.expression import Expr, ParseError, free_symbols, symbol
from mmpr_pipeline.checking.latex_operands import is_symbols
from mmpr_pipeline.checking.latex_tokens import fold, tokenise
from mmpr_pipeline.checking.latex_units import UnitReader
from mmpr_pipeline.checking.math_words import (
    CONNECTIVES,
    DISJUNCTIONS,
    FUNCTIONS,
    GREEK,
    NEUTRAL_WORDS,
    RELATIONS,
    is_condition,
    is_membership,
)

_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|dot|bar)\s*\{?(\d+)\}?(?:\\dot\s*\{?(\d)\}?)?")
_STATEMENTS = frozenset({"rel", "list", "text", "residue", "ratio", "builder"})
_OPERAND_COMMANDS = frozenset(
    "\\" + name
    for name in [
        "frac",
        "dfrac",
        "tfrac",
        "cfrac",
        "sqrt",
        "cbrt",
        "binom",
        "infty",
        "lfloor",
        "lceil",
        "sum",
        "prod",
        "int",
        "lim",
        "begin",
        "dots",
        "ldots",
        "cdots",
        "vec",
        "hat",
        "bar",
        "overline",
        "tilde",
        "mathbb",
        "mathcal",
        "overrightarrow",
        "lvert",
        "emptyset",
        "dbinom",
        "boxed",
        "mathbf",
    ]
)


class Parser(UnitReader):
    """The grammar from lists down to powers; operands, commands and units come from the classes below it."""

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

    def sum(self) -> Expr:
        self.enter()
        terms = [self.signed()]
        while self.now.text in ("+", "-", r"\pm", r"\mp") and self.now.kind in ("other", "cmd"):
            sign = self.take().text
            term = self.signed() if self.now.text in ("-", "+") else self.term()
            terms.append({"+": term, "-": Expr("neg", (term,))}.get(sign) or Expr("pm", (term,), sign[1:]))
        self.depth -= 1
        if len(terms) > 1 and any(term.op in _STATEMENTS - {"builder"} for term in terms):
            raise ParseError("a statement in a sum")
        return terms[0] if len(terms) == 1 else Expr("add", tuple(terms))

    def signed(self) -> Expr:
        negative = self.now.text == "-" and self.now.kind == "other"
        if negative or (self.now.text == "+" and self.now.kind == "other"):
            self.at += 1
        if self.now.text in (r"\pm", r"\mp"):
            sign = self.take().text[1:]
            return Expr("pm", (self.term(),), sign)
        term = self.term()
        return Expr("neg", (term,)) if negative else term

    def term(self) -> Expr:
        factors = [self.factor()]
        chain = 0
        while True:
            token = self.now
            priced = self.priced(factors[0]) if len(factors) == 1 else None
            if priced is not None:
                return priced
            if token.text in ("*", r"\cdot", r"\times", r"\ast") and token.kind in ("other", "cmd"):
                self.at += 1
                factors.append(self.signed_factor())
            elif token.text in ("/", r"\div") and token.kind in ("other", "cmd"):
                self.at += 1
                chain = self.bounded(chain)
                left = factors[0] if len(factors) == 1 else Expr("mul", tuple(factors))
                factors = [Expr("div", (left, self.signed_factor()))]
            elif self.unit_ahead() or self.unit_letter_ahead(factors):
                value = factors[0] if len(factors) == 1 else Expr("mul", tuple(factors))
                return self.further_parts(Expr("quantity", (value,), self.unit()))
            elif self.starts_operand(factors[-1]):
                factors.append(self.factor())
                if factors[-1].op == "rel" and is_membership(factors[-1]):
                    factors.pop()
            else:
                break
        if len(factors) > 1 and any(factor.op in _STATEMENTS for factor in factors):
            raise ParseError("a statement in a product")
        return factors[0] if len(factors) == 1 else Expr("mul", tuple(factors))

    def signed_factor(self) -> Expr:
        if self.now.text in ("-", "+") and self.now.kind == "other":
            negative = self.take().text == "-"
            factor = self.factor()
            return Expr("neg", (factor,)) if negative else factor
        return self.factor()

    def starts_operand(self, last: Expr) -> bool:
        """Whether an implicit product goes on with the current token."""
        token = self.now
        if token.kind == "num":
            return last.op in ("pow", "paren", "func", "fact")
        if token.kind == "word":
            return not self.at_break() and is_symbols(token.text)
        if token.kind == "text":
            return not self.at_break() and is_symbols(token.text)
        if token.kind == "cmd":
            return token.text in _OPERAND_COMMANDS or token.text[1:] in FUNCTIONS or token.text[1:] in GREEK
        if token.text == "|":
            return not self.bars and not self.braces
        return token.text in ("(", "{")

    def factor(self) -> Expr:
        self.enter()
        base = self.operand()
        base = self.postfix(base)
        self.depth -= 1
        return base

    def postfix(self, base: Expr) -> Expr:
        chain = 0
        while True:
            chain = self.bounded(chain)
            token = self.now
            if token.kind == "pow" or token.text == "^":
                self.at += 1
                base = self.power(base)
            elif token.text == "!" and token.kind == "other":
                self.at += 1
                base = Expr("fact", (base,))
            elif token.text in ("%", r"\%"):
                self.at += 1
                base = Expr("percent", (base,))
            elif token.text == "_" and base.op == "num":
                self.at += 1
                base = Expr("base", (base,), self.raw_group())
            elif token.text == "_" and base.op == "paren":
                self.at += 1
                base = Expr("base", base.args, self.raw_group())
            else:
                return base

    def power(self, base: Expr) -> Expr:
        if self.is_degree():
            if self.now.kind == "word" and self.now.text in ("C", "F"):
                return Expr("quantity", (base,), "celsius" if self.take().text == "C" else "fahrenheit")
            return Expr("degree", (base,))
        if self.now.text in (r"\prime", "'", "*", r"\ast", r"\top") and base.op == "sym":
            return symbol(f"{base.value}{self.take().text}")
        if self.now.text == "{" and self.peek().text in (r"\prime", "'", "*", r"\top") and self.peek(2).text == "}":
            self.at += 1
            mark = self.take().text
            self.at += 1
            return symbol(f"{base.value}{mark}") if base.op == "sym" else base
        return Expr("pow", (base, self.exponent()))

    def is_degree(self) -> bool:
        if self.accept(r"\circ", r"\degree"):
            return True
        if self.now.text == "{" and self.peek().text in (r"\circ", r"\degree") and self.peek(2).text == "}":
            self.at += 3
            return True
        return False

    def exponent(self) -> Expr:
        """What stands after `^`; towers group to the right."""
        self.enter()
        result = self.raised()
        self.depth -= 1
        return result

    def raised(self) -> Expr:
        if self.now.text in ("-", "+") and self.now.kind == "other":
            negative = self.take().text == "-"
            inner = self.exponent()
            return Expr("neg", (inner,)) if negative else inner
        if self.now.text == "{":
            return self.braced()
        if self.now.kind == "word" and len(self.now.text) > 1:
            return self.first_letter()
        base = self.operand()
        if self.now.kind == "pow" or self.now.text == "^":  # a ** b ** c groups to the right
            self.at += 1
            self.enter()
            base = self.power(base)
            self.depth -= 1
        return base


def _repeating(match: re.Match[str]) -> str:
    """`0.1\\overline{6}` as an exact fraction."""
    whole, fixed, cycle = match[1] or "0", match[2], match[3] + (match[4] or "")
    bottom = (10 ** len(cycle) - 1) * 10 ** len(fixed)
    top = int(whole + fixed + cycle) - int(whole + fixed)
    return rf"\frac{{{top}}}{{{bottom}}}"


@lru_cache(maxsize=4096)
def parse(text: str) -> Expr:
    """The tree of an answer's text. Raises ParseError when it is not mathematics that we read, or over a bound."""
    folded = fold(text)
    if len(folded) < 500 and any(mark in folded for mark in (r"\overline", r"\dot", r"\bar")):
        folded = _REPEATING.sub(_repeating, folded)
    try:
        return Parser(tokenise(folded)).answer()
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ParseError(type(error).__name__) from error
