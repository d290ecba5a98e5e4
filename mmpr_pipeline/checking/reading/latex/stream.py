"""A cursor over the tokens of an answer, and the bound on how deep the parser goes."""

from __future__ import annotations

from mmpr_pipeline.checking.reading.latex.tokens import Token
from mmpr_pipeline.checking.values.expression import MAX_CHAIN, MAX_DEPTH, Expr, ParseError

_END = Token("end", "", False)


class TokenStream:
    """One pass over one token list. `depth` bounds the recursion; `bars`, `braces` and `integrals` count open ones."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.braces = 0
        self.integrals = 0
        self.connective = ""

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

    def bounded(self, chain: int) -> int:
        """One more link of a chain of operators. Raises ParseError when it has grown too long."""
        if chain >= MAX_CHAIN:
            raise ParseError("too long a chain")
        return chain + 1

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

    # What the parts of the parser call of one another; the parts are one class, `latex_parser.Parser`.
    def items(self) -> list[Expr]:
        raise NotImplementedError

    def statement(self) -> Expr:
        raise NotImplementedError

    def sum(self) -> Expr:
        raise NotImplementedError

    def term(self) -> Expr:
        raise NotImplementedError

    def factor(self) -> Expr:
        raise NotImplementedError

    def exponent(self) -> Expr:
        raise NotImplementedError

    def power(self, base: Expr) -> Expr:
        raise NotImplementedError

    def signed_factor(self) -> Expr:
        raise NotImplementedError

    def starts_operand(self, last: Expr) -> bool:
        raise NotImplementedError

    def command(self) -> Expr:
        raise NotImplementedError

    def function(self, name: str) -> Expr:
        raise NotImplementedError
