"""Our own reader of LaTeX and plain mathematics: text to a bounded tree, or a ParseError; nothing is ever executed.

Recursive descent over `latex_tokens`. From loose to tight: list (comma, and, or), relation chain, ratio, set union,
sum, product (also implicit), sign, power, operand. Whatever is not plainly mathematics raises ParseError.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from mmpr_pipeline.checking.expression import MAX_DEPTH, MAX_DIGITS, Expr, ParseError, number, symbol
from mmpr_pipeline.checking.latex_tokens import Token, fold, tokenise
from mmpr_pipeline.checking.unit import UNIT_LETTERS, parse_unit
from mmpr_pipeline.checking.math_words import (
    CONNECTIVES,
    DISJUNCTIONS,
    FUNCTIONS,
    GREEK,
    NEUTRAL_WORDS,
    RELATIONS,
    is_condition,
    is_membership,
    is_unit_word,
)

_END = Token("end", "", False)
_FUNCTION_LETTERS = frozenset("fF")
_MAYBE_FUNCTION = frozenset("gGhHPQWpq")
_CLOSERS = {"(": ")]", "[": "])", r"\{": (r"\}",), "{": ("}",), r"\langle": (r"\rangle",)}
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|dot|bar)\s*\{?(\d+)\}?(?:\\dot\s*\{?(\d)\}?)?")
_ARGUMENT_STOPS = frozenset({"+", "-", "*", "/", ",", ";", ":", ")", "]", "}", "=", "<", ">"})


class Parser:
    """One pass over one token list. `depth` bounds the recursion; `bars` counts open absolute values."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.braces = 0
        self.connective = ""

    # --- token stream -------------------------------------------------------------------------------------------
    @property
    def now(self) -> Token:
        return self.tokens[self.at]

    def peek(self, ahead: int = 1) -> Token:
        index = self.at + ahead
        return self.tokens[index] if index < len(self.tokens) else _END

    def take(self) -> Token:
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def accept(self, *texts: str) -> bool:
        if self.now.text in texts and self.now.kind not in ("end", "text"):
            self.at += 1
            return True
        return False

    def expect(self, *texts: str) -> None:
        if not self.accept(*texts):
            raise ParseError(f"expected {texts[0]}")

    def replace(self, *tokens: Token) -> None:
        """Put other tokens in the place of the current one."""
        self.tokens[self.at : self.at + 1] = tokens

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ParseError("nested too deep")

    # --- lists and statements -----------------------------------------------------------------------------------
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
            items.append(self.statement())
            if self.now.kind == "text" and is_condition(self.now.text):
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

    def statement(self) -> Expr:
        self.enter()
        self.skip_label()
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
            if operator == "approx":
                continue
            sides.append(side)
            operators.append(operator)
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
        while self.now.text in (r"\cup", r"\cap", r"\setminus", r"\backslash"):
            operator = self.take().text
            op = {r"\cup": "union", r"\cap": "intersect"}.get(operator, "setminus")
            left = Expr(op, (left, self.sum()))
        return left

    # --- arithmetic ---------------------------------------------------------------------------------------------
    def sum(self) -> Expr:
        self.enter()
        terms = [self.signed()]
        while self.now.text in ("+", "-", r"\pm", r"\mp") and self.now.kind in ("other", "cmd"):
            sign = self.take().text
            term = self.signed() if self.now.text in ("-", "+") else self.term()
            terms.append({"+": term, "-": Expr("neg", (term,))}.get(sign) or Expr("pm", (term,), sign[1:]))
        self.depth -= 1
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
        factors, divided = [self.factor()], False
        while True:
            token = self.now
            if token.text in ("*", r"\cdot", r"\times", r"\ast") and token.kind in ("other", "cmd"):
                self.at += 1
                factors.append(self.signed_factor())
            elif token.text in ("/", r"\div") and token.kind in ("other", "cmd"):
                self.at += 1
                left = factors[0] if len(factors) == 1 else Expr("mul", tuple(factors))
                factors, divided = [Expr("div", (left, self.signed_factor()))], True
            elif self.unit_ahead() or (len(factors) == 1 and factors[0].op == "num" and self.letter_unit_ahead()):
                value = factors[0] if len(factors) == 1 else Expr("mul", tuple(factors))
                return Expr("quantity", (value,), self.unit())
            elif self.starts_operand(factors[-1], divided):
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

    def starts_operand(self, last: Expr, divided: bool) -> bool:
        """Whether an implicit product goes on with the current token."""
        token = self.now
        if token.kind == "num":
            return last.op in ("pow", "paren", "func", "fact")
        if token.kind == "word":
            return not self.at_break() and _is_symbols(token.text)
        if token.kind == "text":
            return not self.at_break() and _is_symbols(token.text)
        if token.kind == "cmd":
            return token.text in _OPERAND_COMMANDS or token.text[1:] in FUNCTIONS or token.text[1:] in GREEK
        if token.text == "|":
            return not self.bars and not self.braces
        return token.text in ("(", "{")

    def at_break(self) -> bool:
        """Whether the current word ends a statement: a connective, or the start of a condition."""
        text = self.now.text.strip().lower()
        return text in CONNECTIVES or is_condition(text)

    def unit_ahead(self) -> bool:
        token = self.now
        if token.kind == "text":
            text = token.text.strip()
            return bool(text) and text.lower() not in CONNECTIVES and not is_condition(text) and not _is_math_text(text)
        if token.kind == "word":
            return token.text.lower() not in CONNECTIVES and (is_unit_word(token.text) or not _is_symbols(token.text))
        return token.text in (r"\$", r"\euro", r"\pounds")

    def letter_unit_ahead(self) -> bool:
        """A spaced single letter that ends the statement is a unit: `5 m`, `10 m/s`; `5 m + n` is a product."""
        if self.now.kind != "word" or not self.now.spaced or self.now.text not in UNIT_LETTERS:
            return False
        start = self.at
        text = self.unit()
        ended = self.now.kind == "end" or self.now.text in (",", ";") or self.at_break()
        self.at = start
        return ended and parse_unit(text) is not None

    def unit(self) -> str:
        """The unit as written: words with their powers, products and quotients."""
        parts: list[str] = []
        while True:
            token = self.now
            if token.kind in ("text", "word"):
                text = token.text.strip()
                if text.lower() in CONNECTIVES or (is_condition(text) and parts):
                    break
                self.at += 1
                parts.append((" " if token.spaced else "") + text)
                if self.now.text == "." and (self.peek().kind == "word" or self.peek().kind == "end"):
                    self.at += 1
            elif token.text in (r"\$", "$") and not parts:
                self.at += 1
                parts.append("$")
            elif token.text == "^" and parts:
                self.at += 1
                parts.append("^" + self.raw_group())
            elif token.text in ("/", r"\cdot", "*", r"\times") and self.peek().kind in ("text", "word"):
                self.at += 1
                parts.append("/" if token.text == "/" else "*")
            else:
                break
        return "".join(parts).strip()

    # --- factors ------------------------------------------------------------------------------------------------
    def factor(self) -> Expr:
        self.enter()
        base = self.operand()
        base = self.postfix(base)
        self.depth -= 1
        return base

    def postfix(self, base: Expr) -> Expr:
        while True:
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

    def operand(self) -> Expr:
        token = self.now
        if token.kind == "num":
            return self.literal()
        if token.kind == "word":
            return self.word()
        if token.kind == "text":
            return self.text()
        if token.kind == "cmd":
            return self.command()
        if token.text in ("(", "["):
            return self.bracketed()
        if token.text == "{":
            return self.braced()
        if token.text == r"\{":
            return self.set_of()
        if token.text == "|":
            return self.absolute()
        if token.text in ("$", r"\$") and self.peek().kind in ("num", "other"):
            self.at += 1
            return Expr("quantity", (self.signed_factor(),), "$")
        raise ParseError(f"unexpected {token.text[:20]!r}")

    def literal(self) -> Expr:
        token = self.take()
        if len(token.text) > MAX_DIGITS:
            raise ParseError("too many digits")
        if "." in token.text or "e" in token.text.lower():
            mantissa, _, exponent = token.text.lower().partition("e")
            if exponent and abs(int(exponent)) > MAX_DIGITS:
                raise ParseError("exponent too large")
            value = Fraction(mantissa) * (Fraction(10) ** int(exponent or 0))
            return number(value, token.text)
        value = Fraction(int(token.text))
        if self.now.text in (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"):
            return self.mixed(value)
        return number(value)

    def mixed(self, whole: Fraction) -> Expr:
        """`1\\frac{1}{2}` is one and a half; where the fraction is not proper it is a product."""
        fraction = self.command()
        top, bottom = fraction.args
        if top.op == "num" and bottom.op == "num" and not top.args and top.value < bottom.value:  # type: ignore[operator]
            return Expr("add", (number(whole), fraction))
        return Expr("mul", (number(whole), fraction))

    def word(self) -> Expr:
        text = self.now.text
        lower = text.lower()
        if lower in FUNCTIONS:
            self.at += 1
            return self.function(FUNCTIONS[lower])
        if lower in ("infinity", "infty", "inf"):
            self.at += 1
            return Expr("const", (), "inf")
        if text in GREEK and len(text) > 1:
            self.at += 1
            return self.named(text)
        if len(text) == 1:
            self.at += 1
            return self.named(text)
        if _is_symbols(text):
            return self.first_letter()
        return self.phrase()

    def first_letter(self) -> Expr:
        """The first letter of a run as a symbol; the others stay as further factors."""
        text, spaced = self.now.text, self.now.spaced
        self.replace(Token("word", text[0], spaced), Token("word", text[1:], False))
        self.at += 1
        return self.named(text[0])

    def phrase(self) -> Expr:
        words = []
        while self.now.kind in ("word", "text") or (
            words and self.now.text in ("-", "'") and self.peek().kind == "word"
        ):
            if self.now.text.strip().lower() in CONNECTIVES:
                break
            words.append(self.take().text.strip())
        if not words:
            raise ParseError("a word where a value was due")
        return Expr("text", (), " ".join(words))

    def text(self) -> Expr:
        body = self.now.text.strip()
        if not body:
            self.at += 1
            return self.operand()
        if body.lower() in FUNCTIONS:
            self.at += 1
            return self.function(FUNCTIONS[body.lower()])
        if len(body) == 1 and body.isalpha():
            self.at += 1
            return self.named(body)
        if _is_math_text(body):
            inner = tokenise(body)[:-1]
            self.replace(Token("other", "{", self.now.spaced), *inner, Token("other", "}", False))
            return self.braced()
        return self.phrase()

    def named(self, name: str) -> Expr:
        """A symbol with its subscript and primes; pi, e and i; or an unknown function applied to arguments."""
        name += self.subscript()
        while self.now.text == "'":
            name += self.take().text
        if name in ("pi", "e", "i"):
            return Expr("const", (), name)
        if self.now.text == "(" and self.is_application(name):
            arguments = self.bracketed(keep=True)
            return Expr("apply", arguments.args, name)
        result = symbol(name)
        if self.now.text == "^" and self.peek().text == "{" and self.peek(2).text == r"\prime":
            return result
        if self.now.text == "^":  # v^2_0 is the square of v_0
            mark = self.at
            self.at += 1
            powered = self.power(result)
            late = self.subscript()
            if late and powered.op == "pow":
                return Expr("pow", (symbol(name + late), powered.args[1]))
            if powered.op != "pow" and not late:
                return powered
            self.at = mark
        return result

    def is_application(self, name: str) -> bool:
        letter = name[0]
        if letter in _FUNCTION_LETTERS:
            return True
        closes = self.peek(2).text in (")", ",") and self.peek().kind in ("word", "num", "cmd")
        if letter in _MAYBE_FUNCTION and closes:
            return True
        return self.at == 1 and closes and any(t.text == "=" for t in self.tokens[self.at : self.at + 12])

    def subscript(self) -> str:
        if self.now.text != "_":
            return ""
        self.at += 1
        return "_" + self.raw_group()

    def raw_group(self) -> str:
        """The text of a braced group or one token, blanks and braces dropped."""
        if self.now.text != "{":
            return self.take().text.strip().strip("\\")
        depth, parts = 0, []
        while self.now.kind != "end":
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token.text, 0) if token.kind != "text" else 0
            if token.text not in "{}":
                parts.append(token.text.strip().strip("\\"))
            if depth == 0:
                return "".join(parts)
        raise ParseError("unclosed")

    # --- brackets -----------------------------------------------------------------------------------------------
    def bracketed(self, keep: bool = False) -> Expr:
        """`(...)`, `[...]` and half-open ones: a group when it holds one scalar, else a tuple or interval."""
        self.enter()
        bars, self.bars, braces, self.braces = self.bars, 0, self.braces, 0
        opening = self.take().text
        items = self.items()
        closing = self.take().text
        if closing not in (")", "]"):
            raise ParseError("unclosed bracket")
        self.bars, self.braces = bars, braces
        self.depth -= 1
        if len(items) == 1 and opening == "(" and closing == ")" and not keep:
            return _grouped(items[0])
        return Expr("paren", tuple(items), opening + closing)

    def braced(self) -> Expr:
        """A LaTeX group; with commas in it, the set that a careless author meant."""
        self.enter()
        bars, self.bars, braces, self.braces = self.bars, 0, self.braces, 0
        self.expect("{")
        items = self.items()
        self.expect("}")
        self.bars, self.braces = bars, braces
        self.depth -= 1
        if not items:
            raise ParseError("empty group")
        return _grouped(items[0]) if len(items) == 1 else Expr("set", tuple(items))

    def set_of(self) -> Expr:
        self.enter()
        bars, self.bars = self.bars, 0
        self.expect(r"\{")
        self.braces += 1
        items = self.items()
        self.braces -= 1
        if self.now.text in ("|", r"\mid", ":", r"\vert"):
            self.at += 1
            conditions = self.items()
            self.expect(r"\}")
            self.bars = bars
            self.depth -= 1
            return Expr("builder", (Expr("list", tuple(items)), Expr("list", tuple(conditions))))
        self.expect(r"\}", ")")
        self.bars = bars
        self.depth -= 1
        return Expr("set", tuple(items))

    def absolute(self) -> Expr:
        self.enter()
        self.at += 1
        self.bars += 1
        inner = self.sum()
        self.bars -= 1
        self.expect("|", r"\vert", r"\rvert")
        self.depth -= 1
        return Expr("func", (inner,), "abs")

    def matrix(self, closing: str) -> Expr:
        rows: list[Expr] = []
        cells: list[Expr] = []
        while True:
            if self.now.text == "&" or self.now.kind == "rowsep" or self.now.text == r"\end":
                pass
            else:
                cells.append(self.statement())
            token = self.take()
            if token.text == "&":
                continue
            if token.kind == "rowsep":
                rows.append(Expr("row", tuple(cells)))
                cells = []
            elif token.text == r"\end":
                if self.raw_group() != closing:
                    raise ParseError("matrix end")
                if cells:
                    rows.append(Expr("row", tuple(cells)))
                return Expr("matrix", tuple(rows))
            elif token.text != ",":
                raise ParseError("matrix")

    # --- commands -----------------------------------------------------------------------------------------------
    def argument(self) -> Expr:
        """One LaTeX argument: a group, or a single digit, letter or command."""
        token = self.now
        if token.text == "{":
            return self.braced()
        if token.kind == "num" and len(token.text) > 1 and token.text.isdigit():
            self.replace(Token("num", token.text[0], False), Token("num", token.text[1:], False))
        if token.kind == "word" and len(token.text) > 1:
            return self.first_letter()
        if token.kind == "num":
            return number(int(self.take().text)) if self.now.text.isdigit() else self.literal()
        return self.operand()

    def command(self) -> Expr:
        self.enter()
        name = self.take().text[1:].rstrip("*")
        result = self.command_named(name)
        self.depth -= 1
        return result

    def command_named(self, name: str) -> Expr:
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            top = self.argument()
            return Expr("div", (top, self.argument()))
        if name in ("sqrt", "cbrt"):
            return self.root(name)
        if name in ("binom", "dbinom", "tbinom"):
            top = self.argument()
            return Expr("binom", (top, self.argument()))
        if name in FUNCTIONS:
            return self.function(FUNCTIONS[name])
        if name in GREEK:
            return self.named(GREEK[name])
        if name in ("infty", "emptyset", "varnothing"):
            return Expr("const", (), "inf") if name == "infty" else Expr("set")
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.expect(r"\rfloor" if name == "lfloor" else r"\rceil")
            return Expr("func", (inner,), "floor" if name == "lfloor" else "ceil")
        if name in ("lvert", "vert"):
            inner = self.sum()
            self.expect(r"\rvert", r"\vert")
            return Expr("func", (inner,), "abs")
        if name == "langle":
            items = self.items()
            self.expect(r"\rangle")
            return Expr("paren", tuple(items), "()")
        if name in ("sum", "prod"):
            return self.series(name)
        if name == "int":
            return self.integral()
        if name == "lim":
            return self.limit()
        if name == "begin":
            return self.environment()
        if name in ("dots", "ldots", "cdots", "vdots"):
            return symbol("dots")
        if name in ("mathbb", "mathcal", "mathfrak"):
            return Expr("const", (), "set_" + self.raw_group()) if name == "mathbb" else symbol(self.raw_group())
        if name in ("vec", "hat", "bar", "tilde", "overrightarrow", "overline", "dot", "ddot", "widehat"):
            return symbol(f"{name} {self.raw_group()}{self.subscript()}")
        if name in ("angle", "triangle"):
            return symbol(f"{name} {self.raw_group()}")
        if name in ("boxed", "displaystyle", "mathbf", "underline", "bf", "rm"):
            return self.argument()
        raise ParseError(f"command {name[:20]}")

    def root(self, name: str) -> Expr:
        index: Expr = number(3 if name == "cbrt" else 2)
        if self.now.text == "[":
            self.at += 1
            index = self.sum()
            self.expect("]")
        if self.now.kind == "num":
            inner = self.literal()
        else:
            inner = self.argument()
        return Expr("pow", (inner, Expr("div", (number(1), index))))

    def environment(self) -> Expr:
        name = self.raw_group()
        if name not in ("pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "smallmatrix", "cases"):
            raise ParseError(f"environment {name[:20]}")
        if name == "array" and self.now.text == "{":
            self.raw_group()
        inner = self.matrix(name)
        if name == "vmatrix":
            return Expr("func", (inner,), "det")
        if name == "cases":
            return Expr("list", tuple(cell for row in inner.args for cell in row.args))
        return inner

    def function(self, name: str) -> Expr:
        """A known function with its power, base and argument: `\\sin^2 x`, `\\log_2 8`, `sin 2x`, `\\tan^{-1}(x)`."""
        power: Expr | None = None
        base: Expr | None = None
        while self.now.text in ("^", "_"):
            if self.take().text == "^":
                power = self.exponent()
            else:
                base = self.argument() if self.now.text == "{" or self.now.kind != "num" else self.literal()
        argument = self.function_argument(name)
        if name == "sqrt":
            return Expr("pow", (*argument, Expr("div", (number(1), number(2)))))
        if base is not None and name == "log":
            result = Expr("div", (Expr("func", argument, "ln"), Expr("func", (base,), "ln")))
        elif base is not None:
            raise ParseError("subscript on a function")
        elif power == Expr("neg", (number(1),)) and name in _INVERSES:
            return Expr("func", argument, _INVERSES[name])
        else:
            result = Expr("func", argument, name)
        return result if power is None else Expr("pow", (result, power))

    def function_argument(self, name: str) -> tuple[Expr, ...]:
        if self.now.text in ("(", "["):
            return self.bracketed(keep=True).args
        if self.now.text == "{":
            return (self.braced(),)
        if name in ("max", "min", "gcd", "lcm") or self.now.text in _ARGUMENT_STOPS or self.now.kind == "end":
            raise ParseError("function without argument")
        factors = [self.factor()]
        while self.starts_operand(factors[-1], False) and self.now.text != "(" and not self.at_function():
            factors.append(self.factor())
        return (factors[0] if len(factors) == 1 else Expr("mul", tuple(factors)),)

    def at_function(self) -> bool:
        return self.now.kind in ("cmd", "word") and self.now.text.lstrip("\\") in FUNCTIONS

    def series(self, name: str) -> Expr:
        self.expect("_")
        start = self.argument()
        if start.op != "rel" or start.value != ("=",):
            raise ParseError("series without a start")
        self.expect("^")
        stop = self.exponent()
        return Expr(name, (start.args[0], start.args[1], stop, self.term()))

    def limit(self) -> Expr:
        self.expect("_")
        self.expect("{")
        variable = self.operand()
        self.expect(r"\to", r"\rightarrow")
        target = self.sum()
        self.expect("}")
        return Expr("lim", (variable, target, self.term()))

    def integral(self) -> Expr:
        bounds: dict[str, Expr] = {}
        while self.now.text in ("_", "^"):
            mark = self.take().text
            bounds[mark] = self.argument()
        body = self.sum()
        factors = body.args if body.op == "mul" else (body,)
        if len(factors) < 2 or factors[-2] != symbol("d") or factors[-1].op != "sym" or len(bounds) == 1:
            raise ParseError("integral")
        rest = factors[:-2] or (number(1),)
        inner = rest[0] if len(rest) == 1 else Expr("mul", tuple(rest))
        return Expr("int", (factors[-1], inner, *(bounds[k] for k in ("_", "^") if k in bounds)))


_INVERSES = {"sin": "asin", "cos": "acos", "tan": "atan", "cot": "acot", "sec": "asec", "csc": "acsc"}
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


def _grouped(expr: Expr) -> Expr:
    """A bracketed sum stays apart from its surroundings, which a tree does by itself; a literal loses nothing."""
    return expr


def _is_symbols(text: str) -> bool:
    """Whether a run of letters is a product of symbols or a name that we know, rather than a word."""
    text = text.strip()
    if not text.isascii() or not text.isalpha():
        return False
    if text.lower() in FUNCTIONS or text in GREEK or len(text) == 1:
        return True
    if len(text) == 2:
        return text.lower() not in ("is", "of", "no", "if", "at", "in", "it", "be", "to", "on", "by", "we", "so", "or")
    return len(text) <= 4 and not re.search("[eiouEIOU]", text)


_MATH_TEXT = re.compile(r"[-+*/^=<>().,\d\s\\%]*")


def _is_math_text(text: str) -> bool:
    r"""Whether the body of \text{} or \mathbf{} is mathematics (`5`, `-3/4`) rather than words or a unit."""
    return bool(_MATH_TEXT.fullmatch(text)) and any(c.isdigit() for c in text)


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
    if r"\overline" in folded or r"\dot" in folded or r"\bar" in folded:
        if len(folded) < 500:
            folded = _REPEATING.sub(_repeating, folded)
    try:
        return Parser(tokenise(folded)).answer()
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ParseError(type(error).__name__) from error
