"""Text to tokens: what is written many ways (Unicode, plain text, LaTeX) becomes one small alphabet of tokens; and the
words of mathematical writing: function names, Greek letters, relations, connectives, conditions and unit words.

Every pattern is linear in the length of the text, which is bounded before the first one runs.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from mmpr_pipeline.checking.values.expression import MAX_CHARS, MAX_TOKENS, ParseError

_OWN_NAMES = (
    "sin cos tan cot sec csc sinh cosh tanh asin acos atan ln exp sqrt abs max min gcd lcm det floor ceil log sgn arg"
)
FUNCTIONS: dict[str, str] = {name: name for name in _OWN_NAMES.split(" ")} | {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec", "arccsc": "acsc",
    "lg": "log10", "tg": "tan", "ctg": "cot", "arctg": "atan", "cosec": "csc", "sign": "sgn",
}  # fmt: skip

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega hbar ell"
)
GREEK: dict[str, str] = {name: name for name in _GREEK_NAMES.split(" ")} | {
    "varphi": "phi",
    "varepsilon": "epsilon",
    "vartheta": "theta",
    "varrho": "rho",
    "varsigma": "sigma",
}

RELATIONS: dict[str, str] = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", "=<": "<=", ">=": ">=", "=>": ">=", "!=": "!=", "<>": "!=",
    r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=", r"\leqq": "<=", r"\lt": "<", r"\ge": ">=", r"\geq": ">=",
    r"\geqslant": ">=", r"\geqq": ">=", r"\gt": ">", r"\ne": "!=", r"\neq": "!=", r"\in": "in", r"\notin": "notin",
    r"\equiv": "equiv", r"\approx": "approx", r"\simeq": "approx", r"\colon": "=", r"\subset": "subset",
    r"\subseteq": "subset",
}  # fmt: skip


CONNECTIVES = frozenset({"and", "or", ", and", ", or", "和", "或", "与", "且", "或者", "以及", "及", "as well as"})

DISJUNCTIONS = frozenset({"or", ", or", "或", "或者"})

NEUTRAL_WORDS = frozenset(
    {"only", "the", "answer", "is", "are", "about", "approximately", "approx", "value", "thus", "so", "therefore"}
    | {"答案", "是", "为", "约", "约为", "等于", "equals"}
)

_CONDITIONS = ("for ", "where", "with ", "when", "such that", "if ", "given", "provided", "其中", "for all", "as ")


def is_condition(text: str) -> bool:
    """Whether the text opens a condition on what came before (`for all integers n`)."""
    lower = text.strip().lower() + " "
    return lower.startswith(_CONDITIONS)


_COMMANDS = (
    "frac|dfrac|tfrac|cfrac|sqrt|left|right|text|textbf|mathrm|mathbf|boxed|pi|theta|alpha|beta|gamma|delta|lambda|mu"
    "|sin|cos|tan|cot|sec|csc|arctan|arcsin|arccos|log|ln|le|leq|ge|geq|leqslant|geqslant|neq|cdot|times|infty|cup|cap|in"
    "|pm|mp|begin|end|circ|quad|qquad|angle|overline|mathbb|approx|bigg|Bigg|big|Big|mid|quad|forall|omega|phi|varphi|sigma|rho|binom|div|sum|prod|int|lim"
)
_DOUBLED = re.compile(r"(?<!\\)\\\\(?=(?:" + _COMMANDS + r")(?![a-zA-Z]))")
_DOUBLED_BRACE = re.compile(r"(?<!\\)\\\\(?=[{}()\[\]])")
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_SUPERSCRIPT_RUN = re.compile("[" + "".join(_SUPERSCRIPTS) + "]+")
_SUBSCRIPT_RUN = re.compile("[" + "".join(_SUBSCRIPTS) + "]+")
_VULGAR = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5)}
_VULGAR |= {"⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)}
_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "﹣": "-", "×": r"\times ", "✕": r"\times ", "÷": r"\div ", "·": r"\cdot ",
    "⋅": r"\cdot ", "∙": r"\cdot ", "•": r"\cdot ", "√": r"\sqrt ", "∛": r"\cbrt ", "π": r"\pi ", "∞": r"\infty ",
    "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≦": r"\le ", "≧": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "≡": r"\equiv ", "±": r"\pm ", "∓": r"\mp ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ",
    "°": r"^{\circ}", "º": r"^{\circ}", "˚": r"^{\circ}", "′": "'", "’": "'", "‘": "'", "∣": "|", "│": "|",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ",
    "、": ",", "，": ",", "；": ";", "：": ":", "。": ".", "（": "(", "）": ")", "【": "[", "】": "]", "％": "%",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "λ": r"\lambda ",
    "μ": r"\mu ", "φ": r"\varphi ", "ω": r"\omega ", "σ": r"\sigma ", "ρ": r"\rho ", "Δ": r"\Delta ", "Ω": r"\Omega ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "→": r"\to ", "∠": r"\angle ",
    "…": r"\dots ", "\u2009": " ", "\u00a0": " ", "\u200b": "", "\ufeff": "", "∶": ":", "∖": r"\setminus ",
}  # fmt: skip
_SYMBOL_TABLE = str.maketrans(_SYMBOLS)
_SPACING = re.compile(r"(?<!\\)\\(?:[,;:!> ]|q?quad|displaystyle(?![a-zA-Z])|limits(?![a-zA-Z]))")
_SIZES = re.compile(r"(?<!\\)\\(?:left|right|[bB]igg?[lrm]?|middle)(?![a-zA-Z])\.?")
_GROUPED = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\,)\s?(?=\d{3}(?!\d))")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d])(?!,\d)")
_SPACE_THOUSANDS = re.compile(r"(?<![\d.,_^])\d{1,3}(?: \d{3})+(?!\d)")
_MIXED = re.compile(r"(?<![\d.^_{])(\d+)(?:\s+|\s*-\s*(?=\d+/\d+\s*$))(\d+)\s?/\s?(\d+)(?![\d.])")
_HYPHEN_UNIT = re.compile(r"(?<=\d)-(?=[a-z]{3})")
_GLUED_CONNECTIVE = re.compile(r"(?<=[\d)}])(or|and)(?=[A-Z\\(\d])")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b")
_MONEY = re.compile(r"\b(?:US|HK|AU|CA|NZ|U\.S\.)\s?(?=\\?\$)")
_RUPEES = re.compile(r"\bRs\.?\s?(?=\d)")
_TIMES_TEN = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?(?:\^|\*\*))")
_CIRCLED = {chr(0x2460 + i): f" {i + 1}, " for i in range(20)} | {chr(0x2776 + i): f" {i + 1}, " for i in range(10)}
_CIRCLED_TABLE = str.maketrans(_CIRCLED)


_HATTED = re.compile("[ijk]\u0302|[îĵ]")
_HATS = {"î": "i", "ĵ": "j"}
"""Unit vectors: `î + 2ĵ`."""


def _ungroup(text: str) -> str:
    """Join digit groups (1,000 and 1 000), outside brackets only: inside them a comma separates."""
    if "," not in text and " " not in text:
        return text
    depth, start, pieces = 0, 0, []
    for index, char in enumerate(text):
        if char in "([{":
            if depth == 0:
                pieces.append(_join_groups(text[start:index]))
                start = index
            depth += 1
        elif char in ")]}" and depth > 0:
            depth -= 1
            if depth == 0:
                pieces.append(text[start : index + 1])
                start = index + 1
    tail = text[start:]
    return "".join(pieces) + (_join_groups(tail) if depth == 0 else tail)


_MICRO = re.compile(
    r"(?<=[\d}\s~])(?:[µμ]|\\mu(?![a-z]))\s?(?:\\(?:text|mathrm|rm|textrm)\s?\{)?\s?(m|g|s|F|C|A|V|L|l|H|W|J|N|T|M|mol|Pa)(?![A-Za-z])\}?"
)
_AXIS = re.compile(r"\\(?:mathbf|boldsymbol|bm|vec|hat)\s?\{\s?\\?([ijk])(?:math)?\s?\}")
"""Unit vectors as they are written: bold, with an arrow, with a hat."""
_OHM = re.compile(
    r"(?<=\d)((?:\s|~|\\[,;: ])*)(?:\\(?:text|mathrm|rm|textrm)\s?\{)?\s?([kMmG]?)\s?(?:\\Omega|Ω|Ω)(?![A-Za-z(])\}?"
)


def _join_groups(text: str) -> str:
    text = _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)
    return _SPACE_THOUSANDS.sub(lambda m: m[0].replace(" ", ""), text)


def fold_latex(text: str) -> str:
    """One spelling of many: ASCII digits and operators, single backslashes, no spacing or sizing commands.

    Raises ParseError when the text is longer than MAX_CHARS.
    """
    # `5 \mu\text{m}` as `5 um`, `5\,k\Omega` as `5 kohm`: Greek letters that are part of a unit.
    text = text.strip()
    if "μ" in text or "µ" in text or "\\mu" in text:
        text = _MICRO.sub(r" u\1", text)
    if "Ω" in text or "Ω" in text or "\\Omega" in text:
        text = _OHM.sub(r" \2ohm", text)
    if "\\" in text and ("bf{" in text or "vec{" in text or "\\b" in text or "math{" in text):
        text = _AXIS.sub(r"\\hat{\1}", text)
    if text.endswith("\\") and not text.endswith("\\\\"):
        text = text[:-1]
    if len(text) > MAX_CHARS:
        raise ParseError("too long")
    if not text.isascii():
        folded = text
        for char, (top, bottom) in _VULGAR.items():
            if char in folded:
                folded = folded.replace(char, rf"\frac{{{top}}}{{{bottom}}}")
        folded = _HATTED.sub(lambda m: rf"\hat{{{_HATS.get(m[0], m[0][0])}}}", folded.translate(_CIRCLED_TABLE))
        folded = _SUPERSCRIPT_RUN.sub(lambda m: "^{" + "".join(_SUPERSCRIPTS[c] for c in m[0]) + "}", folded)
        folded = _SUBSCRIPT_RUN.sub(lambda m: "_{" + "".join(_SUBSCRIPTS[c] for c in m[0]) + "}", folded)
        folded = unicodedata.normalize("NFKC", folded.translate(_SYMBOL_TABLE)).translate(_SYMBOL_TABLE)
        text = "".join(str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in folded)
    if "\\" in text:
        text = _DOUBLED.sub(r"\\", text)
        if r"\begin" not in text:
            text = _DOUBLED_BRACE.sub(r"\\", text)
        text = _GROUPED.sub("", text)
        text = _SPACING.sub(" ", text)
        text = _SIZES.sub(" ", text)
    elif "{,}" in text:
        text = _GROUPED.sub("", text)
    if "x" in text or "X" in text:
        text = _TIMES_TEN.sub(r"\\times ", text)
    text = _GLUED_CONNECTIVE.sub(r" \1 ", _HYPHEN_UNIT.sub(" ", text))
    text = _ORDINAL.sub("", text)
    if "$" in text or "Rs" in text:
        text = _RUPEES.sub("₹", _MONEY.sub("", text))
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    return _ungroup(text)


class Token(NamedTuple):
    """`kind`: num, letter, word, text, cmd, op, script (^ or _), open, close, sep, end. `spaced`: blank before it."""

    kind: str
    text: str
    spaced: bool


_TOKEN = re.compile(
    r"""(?P<space>\s+|~)
    |(?P<text>\\(?:text|textrm|textit|textbf|textup|mbox|hbox(?=\{)|mathrm|mathit|mathbf|mathsf|boldsymbol|bm|operatorname\*?
        |rm|textnormal|unit)\s*\{(?P<body>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\})
    |(?P<cmd>\\[a-zA-Z]+\*?)
    |(?P<rowsep>\\\\(?:\[[^\]\[]{0,8}\])?)
    |(?P<esc>\\[{}%$|&_\#])
    |(?P<num>\d+(?:\.\d+)?(?:[eE][+-]?\d{1,5}(?![a-zA-Z\d]))?|\.\d+)
    |(?P<rel><=|>=|=<|=>|!=|==|<>|[=<>])
    |(?P<word>[A-Za-z]+(?:-[a-z]{3,})*|[\u4e00-\u9fff]+|[^\W\d_])
    |(?P<money>[€£¥₹])
    |(?P<pow>\*\*)
    |(?P<other>[-+*/^_!'|:;,&%$(){}\[\].?])
    """,
    re.VERBOSE,
)


def tokenise(text: str) -> list[Token]:
    """Tokens of folded text. Raises ParseError on a character that is not mathematics, or over MAX_TOKENS tokens."""
    tokens: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(tokens) >= MAX_TOKENS:
            raise ParseError("unknown character" if match is None else "too many tokens")
        position = match.end()
        kind = match.lastgroup
        if kind == "space":
            spaced = True
            continue
        if kind in ("text", "body"):
            tokens.append(Token("text", match["body"], spaced))
        else:
            tokens.append(Token(str(kind), match[0], spaced))
        spaced = False
    tokens.append(Token("end", "", spaced))
    return tokens
