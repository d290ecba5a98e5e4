"""Arithmetic of the parser: sums, products written and implied, signs, powers and what follows an operand."""

from __future__ import annotations

from mmpr_pipeline.checking.reading.latex.operands import is_symbols
from mmpr_pipeline.checking.reading.latex.tokens import FUNCTIONS, GREEK
from mmpr_pipeline.checking.reading.latex.units import UnitReader
from mmpr_pipeline.checking.reading.number_words import number_from_words
from mmpr_pipeline.checking.values.expression import Expr, ParseError, is_membership, symbol

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


class Arithmetic(UnitReader):
    """Reads from sums down to powers."""

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
                base = Expr("base", (base,), _base_named(self.raw_group()))
            elif token.text == "_" and base.op == "paren":
                self.at += 1
                base = Expr("base", base.args, _base_named(self.raw_group()))
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


def _base_named(text: str) -> str:
    """The base of `555_{five}` in digits."""
    name = text.lower().removeprefix("base").strip()
    return str(number_from_words(name) or name)
