"""Units after a value, as the parser meets them."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.reading.latex.commands import Commands
from mmpr_pipeline.checking.reading.latex.operands import is_math_text, is_symbols
from mmpr_pipeline.checking.reading.latex.tokens import CONNECTIVES, Token, is_condition
from mmpr_pipeline.checking.values.expression import Expr, ParseError, free_symbols
from mmpr_pipeline.checking.values.numbers.units import NOT_IN_A_UNIT, UNIT_LETTERS, added, is_unit_word, parse_unit

_TRAILING_CONNECTIVE = re.compile(r"\s(and|or)$")


class UnitReader(Commands):
    """Tells a unit from a factor, and reads it."""

    def unit_ahead(self) -> bool:
        token = self.now
        if token.kind == "text":
            text = token.text.strip()
            return bool(text) and text.lower() not in CONNECTIVES and not is_condition(text) and not is_math_text(text)
        if token.kind == "word":
            return token.text.lower() not in CONNECTIVES and (is_unit_word(token.text) or not is_symbols(token.text))
        return token.text == r"\$" or token.kind == "money"

    def unit_letter_ahead(self, factors: list[Expr]) -> bool:
        r"""A single letter after a number: `5 m` where it ends the statement, `5\mathrm{m}` anywhere."""
        if self.now.kind not in ("word", "text") or len(factors) > 4:
            return False
        if any(free_symbols(factor) or factor.op == "quantity" for factor in factors):
            return False
        if self.now.kind == "text" and self.now.text.strip("~ ") in UNIT_LETTERS:
            return True
        return self.letter_unit_ahead()

    def priced(self, price: Expr) -> Expr | None:
        """`$15 per hour`, `$15/hour`: a price and what it is for."""
        if price.op != "quantity" or self.now.kind == "end":
            return None
        slash = self.now.text == "/" and self.peek().kind in ("word", "text") and not is_symbols(self.peek().text)
        if slash:
            self.at += 1
        elif not self.unit_ahead():
            return None
        return price._replace(value=f"{price.value}{'/' if slash else ' '}{self.unit()}")

    def further_parts(self, first: Expr) -> Expr:
        """`5 ft 6 in`, `1 hour 30 minutes`: smaller parts of the same measure, added up in the first unit."""
        parts = [first]
        while self.now.kind == "num":
            parts.append(self.term())
        if len(parts) == 1:
            return first
        total = added(parts)
        if total is None:
            raise ParseError("a number after a unit")
        return total

    def letter_unit_ahead(self) -> bool:
        """A spaced single letter that ends the statement is a unit: `5 m`, `10 m/s`; `5 m + n` is a product."""
        if self.now.kind != "word" or not self.now.spaced or self.now.text not in UNIT_LETTERS:
            return False
        start = self.at
        text = self.unit()
        ended = self.now.kind in ("end", "num") or self.now.text in (",", ";") or self.at_break()
        self.at = start
        return ended and parse_unit(text) is not None

    def unit(self) -> str:
        """The unit as written: words with their powers, products and quotients."""
        parts: list[str] = []
        while True:
            token = self.now
            if token.kind in ("text", "word"):
                text = token.text.replace("~", " ").strip()
                if text.lower() in CONNECTIVES or (is_condition(text) and parts):
                    break
                ending = _TRAILING_CONNECTIVE.search(text)
                if ending:  # \\text{ goats and } ends the unit and the item.
                    self.replace(Token("text", ending[1], True))
                    parts.append(text[: ending.start()])
                    break
                self.at += 1
                parts.append((" " if token.spaced else "") + text)
                if self.now.text == "." and (self.peek().kind == "word" or self.peek().kind == "end"):
                    self.at += 1
            elif (token.text in (r"\$", "$") or token.kind == "money") and not parts:
                self.at += 1
                parts.append(token.text[-1])
            elif token.text == "^" and parts:
                self.at += 1
                sign = self.take().text if self.now.text == "-" else ""
                parts.append(f"^{sign}{self.raw_group()}")
            elif token.text in ("/", r"\cdot", "*", r"\times") and self.peek().kind in ("text", "word"):
                self.at += 1
                parts.append("/" if token.text == "/" else "*")
            else:
                break
        text = "".join(parts).strip()
        if NOT_IN_A_UNIT.search(text) or len(text) > 60:
            raise ParseError("words after a number that are not a unit")
        return text

    def at_break(self) -> bool:
        """Whether the current word ends a statement: a connective, or the start of a condition."""
        text = self.now.text.strip().lower()
        return text in CONNECTIVES or is_condition(text)
