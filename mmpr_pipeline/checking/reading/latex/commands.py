"""Commands of the parser: fractions, roots, functions, matrices, series, limits and integrals."""

from __future__ import annotations

from mmpr_pipeline.checking.reading.latex.operands import Operands
from mmpr_pipeline.checking.reading.latex.tokens import FUNCTIONS, GREEK, Token
from mmpr_pipeline.checking.values.expression import Expr, ParseError, constant_as_symbol, number_leaf, symbol

_ARGUMENT_STOPS = frozenset({"+", "-", "*", "/", ",", ";", ":", ")", "]", "}", "=", "<", ">"})
_LINES = frozenset({"align", "aligned", "alignat", "gather", "gathered", "split", "eqnarray", "equation", "multline"})
_INVERSES = {"sin": "asin", "cos": "acos", "tan": "atan", "cot": "acot", "sec": "asec", "csc": "acsc"}


class Commands(Operands):
    """Reads what a backslash, or the name of a function, begins."""

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
            return number_leaf(int(self.take().text)) if self.now.text.isdigit() else self.literal()
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
            name = "vec" if name == "overrightarrow" else name
            return symbol(f"{name} {self.raw_group()}{self.subscript()}")
        if name in ("angle", "triangle"):
            return symbol(f"{name} {self.raw_group()}")
        if name in ("boxed", "displaystyle", "mathbf", "underline", "bf", "rm"):
            return self.argument()
        raise ParseError(f"command {name[:20]}")

    def root(self, name: str) -> Expr:
        index: Expr = number_leaf(3 if name == "cbrt" else 2)
        if self.now.text == "[":
            self.at += 1
            index = self.sum()
            self.expect("]")
        inner = self.literal() if self.now.kind == "num" else self.argument()
        return Expr("pow", (inner, Expr("div", (number_leaf(1), index))))

    def environment(self) -> Expr:
        name = self.raw_group()
        if name.rstrip("*") in _LINES:
            return self.lines(name)
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

    def lines(self, name: str) -> Expr:
        """Lines of a derivation give what the last one comes to; lines that each state something are a list."""
        start, rows = self.at, [[]]  # type: tuple[int, list[list[Token]]]
        while self.now.text != r"\end":
            token = self.take()
            if token.kind == "end":
                raise ParseError("unclosed environment")
            if token.kind == "rowsep":
                rows.append([])
            elif token.text != "&":
                rows[-1].append(token)
        self.take()
        if self.raw_group() != name:
            raise ParseError("environment end")
        rows = [row for row in rows if row]
        if not rows:
            raise ParseError("empty environment")
        goes_on = rows[-1][0].text in ("=", r"\approx") or len(rows) == 1
        inner = rows[-1] if goes_on else [t for row in rows for t in (*row, Token("other", ",", False))]
        self.tokens[start : self.at] = [Token("other", "{", False), *inner, Token("other", "}", False)]
        self.at = start
        return self.braced()

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
            return Expr("pow", (*argument, Expr("div", (number_leaf(1), number_leaf(2)))))
        if base is not None and name == "log":
            result = Expr("div", (Expr("func", argument, "ln"), Expr("func", (base,), "ln")))
        elif base is not None:
            raise ParseError("subscript on a function")
        elif power == Expr("neg", (number_leaf(1),)) and name in _INVERSES:
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
        while (
            self.starts_operand(factors[-1])
            and self.now.text != "("
            and not self.at_function()
            and not (self.integrals and self.now.kind == "word" and self.now.text[0] == "d" and len(self.now.text) == 2)
        ):
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
        variable, body = start.args[0], self.term()
        if variable.op == "const":  # The index i is no imaginary unit.
            letter = str(variable.value)
            variable, body = symbol(letter), constant_as_symbol(body, letter)
        return Expr(name, (variable, start.args[1], stop, body))

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
        self.integrals += 1
        body = self.sum()
        self.integrals -= 1
        factors = body.args if body.op == "mul" else (body,)
        if len(factors) < 2 or factors[-2] != symbol("d") or factors[-1].op != "sym" or len(bounds) == 1:
            raise ParseError("integral")
        rest = factors[:-2] or (number_leaf(1),)
        inner = rest[0] if len(rest) == 1 else Expr("mul", tuple(rest))
        return Expr("int", (factors[-1], inner, *(bounds[k] for k in ("_", "^") if k in bounds)))
