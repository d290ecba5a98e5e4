"""Operands of the parser: literals, letters, words and bracketed groups."""

from __future__ import annotations

import re
from fractions import Fraction

from mmpr_pipeline.checking.reading.latex.stream import TokenStream
from mmpr_pipeline.checking.reading.latex.tokens import CONNECTIVES, FUNCTIONS, GREEK, Token, tokenise
from mmpr_pipeline.checking.reading.number_words import SCALES
from mmpr_pipeline.checking.values.expression import MAX_DIGITS, Expr, ParseError, number_leaf, symbol

_FUNCTION_LETTERS = frozenset("fF")
_MAYBE_FUNCTION = frozenset("gGhHPQWpq")
_CONNECTED = re.compile(r"\s(and|or)\s")
_MATH_TEXT = re.compile(r"[-+*/^=<>().,\d\s\\%]*")


class Operands(TokenStream):
    """Reads one operand: what stands between two operators."""

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
        if (token.text in ("$", r"\$") or token.kind == "money") and self.peek().kind in ("num", "other"):
            self.at += 1
            return Expr("quantity", (self.signed_factor(),), token.text[-1])
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
            return self.scaled(value, token.text)
        value = Fraction(int(token.text))
        if self.now.text in (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"):
            return self.mixed(value)
        return self.scaled(value, "")

    def scaled(self, value: Fraction, literal: str) -> Expr:
        """A literal with the `million` or 万 that may follow it; its precision is scaled with it."""
        zeros = SCALES.get(self.now.text.lower()) if self.now.kind == "word" else None
        if zeros is None:
            return number_leaf(value, literal)
        dozens = self.take().text.lower() == "dozen"
        mantissa, _, exponent = literal.lower().partition("e")
        if dozens:
            return number_leaf(value * 12)
        return number_leaf(value * 10**zeros, f"{mantissa}e{int(exponent or 0) + zeros}" if literal else "")

    def mixed(self, whole: Fraction) -> Expr:
        """`1\\frac{1}{2}` is one and a half; where the fraction is not proper it is a product."""
        fraction = self.command()
        top, bottom = fraction.args
        if top.op == "num" and bottom.op == "num" and not top.args and top.value < bottom.value:  # type: ignore[operator]
            return Expr("add", (number_leaf(whole), fraction))
        return Expr("mul", (number_leaf(whole), fraction))

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
        if is_symbols(text):
            return self.first_letter()
        return self.phrase()

    def first_letter(self) -> Expr:
        """The first letter of a run as a symbol; the others stay as further factors."""
        text, spaced = self.now.text, self.now.spaced
        self.replace(Token("word", text[0], spaced), Token("word", text[1:], False))
        self.at += 1
        return self.named(text[0])

    def phrase(self) -> Expr:
        words: list[str] = []
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
        parts = _CONNECTED.split(body)
        if len(parts) > 1 and all(parts):  # \text{line segment and circle} is a list.
            self.replace(*(Token("text", part, True) for part in parts))
            return self.phrase()
        if len(body) == 1 and body.isalpha():
            self.at += 1
            return self.named(body)
        if is_math_text(body):
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
        if self.now.text == "^" and self.after_script().text == "_":  # v^2_0 is the square of v_0
            self.at += 1
            exponent = self.exponent()
            return Expr("pow", (symbol(name + self.subscript()), exponent))
        return result

    def after_script(self) -> Token:
        """The token after the exponent that begins here; looked up, not parsed, so that nothing is read twice."""
        index, depth = self.at + 1, 0
        while index < len(self.tokens) - 1:
            depth += {"{": 1, "}": -1}.get(self.tokens[index].text, 0)
            index += 1
            if depth <= 0:
                break
        return self.tokens[min(index, len(self.tokens) - 1)]

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
        if len(items) == 1 and not keep and (opening + closing == "()" or items[0].op == "matrix"):
            return items[0]
        return Expr("paren", tuple(items), opening + closing)

    def braced(self) -> Expr:
        """A LaTeX group; with commas or a condition in it, the set that a careless author meant."""
        if self.peek().kind == "word" and self.peek(2).text in ("|", r"\mid") and self.peek(2).kind in ("other", "cmd"):
            return self.set_of()
        self.enter()
        bars, self.bars, braces, self.braces = self.bars, 0, self.braces, 0
        self.expect("{")
        items = self.items()
        self.expect("}")
        self.bars, self.braces = bars, braces
        self.depth -= 1
        if not items:
            raise ParseError("empty group")
        return items[0] if len(items) == 1 else Expr("set", tuple(items))

    def set_of(self) -> Expr:
        self.enter()
        bars, self.bars = self.bars, 0
        self.expect(r"\{", "{")
        self.braces += 1
        items = self.items()
        self.braces -= 1
        if self.now.text in ("|", r"\mid", ":", r"\vert"):
            self.at += 1
            conditions = self.items()
            self.expect(r"\}", "}")
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


def is_symbols(text: str) -> bool:
    """Whether a run of letters is a product of symbols or a name that we know, rather than a word."""
    text = text.strip()
    if not text.isascii() or not text.isalpha():
        return False
    if text.lower() in FUNCTIONS or text in GREEK or len(text) == 1:
        return True
    if len(text) == 2:
        return text.lower() not in ("is", "of", "no", "if", "at", "in", "it", "be", "to", "on", "by", "we", "so", "or")
    return len(text) <= 4 and not re.search("[eiouEIOU]", text)


def is_math_text(text: str) -> bool:
    r"""Whether the body of \text{} or \mathbf{} is mathematics (`5`, `-3/4`) rather than words or a unit."""
    return bool(_MATH_TEXT.fullmatch(text)) and any(c.isdigit() for c in text)
