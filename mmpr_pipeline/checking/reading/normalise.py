"""Harmless differences of writing, taken away: full-width forms, typographic marks, Markdown and LaTeX dressing.

And the words of a text by which answers are compared (`tokens`): the one notion of the same text.

Nothing here deletes meaning: signs, digits, units, comparisons and words stay. Every pattern is linear in its input.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from mmpr_pipeline.checking.reading.spelling import spelt

# ruff: noqa: SIM905  (words read better as words)


_FULL_WIDTH: dict[int, int] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_MARKS: dict[int | str, int | str | None] = {
    0x3000: " ", 0xA0: " ", 0x2009: " ", 0x202F: " ", 0x2002: " ", 0x2003: " ",
    "‘": "'", "’": "'", "“": '"', "”": '"', "′": "'", "‐": "-", "‑": "-", "‒": "-", "–": "-",
    "—": "-", "−": "-", "﹣": "-", "。": ".", "、": ",", "【": "[", "】": "]",
    "「": '"', "」": '"', "『": '"', "』": '"', "﹪": "%", "﹕": ":", "∶": ":", "\r": "\n",
    0x200B: None, 0x200C: None, 0x200D: None, 0x2060: None, 0xFEFF: None,
}  # fmt: skip
_FOLDED = {
    chr(mark) if isinstance(mark, int) else mark: chr(other) if isinstance(other, int) else other or ""
    for mark, other in (_FULL_WIDTH | _MARKS).items()
}

_TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mathtt|operatorname|mbox|hbox|emph|bf|rm)"
    r"\s{0,3}\{([^{}]{0,400})\}"
)
_SPACING = re.compile(r"\\(?:[,;:!> ]|quad|qquad|displaystyle|left|right|bf|rm)(?![a-zA-Z])")
_EMPHASIS = re.compile(r"[*_`~](?:(?<=\*)\*{0,2}|(?<=_)_{1,2}|(?<=`)`{0,2}|(?<=~)~)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{(.{0,2000})\}", re.DOTALL)
_DOUBLED = re.compile(r"\\\\(?=(?:d?frac|left|right|sqrt|boxed|text|mathrm|pi|times|cdot|circ|infty|theta)(?![a-z]))")


def fold_width(text: str) -> str:
    """Full-width ASCII, blanks, quotes, dashes and the Chinese stop written in ASCII; zero-width characters gone.

    Circled numbers, superscripts and fractions stay as they are: they are not the digits that they resemble.
    """
    if text.isascii() and "\r" not in text:
        return text
    for mark in _FOLDED.keys() & set(text):
        text = text.replace(mark, _FOLDED[mark])
    return text


def without_emphasis(text: str) -> str:
    """Markdown emphasis and code marks taken away; a `*` or `_` between word characters or digits stays."""
    if not ("*" in text or "_" in text or "`" in text or "~" in text):
        return text
    return _EMPHASIS.sub(lambda m: m.group() if _is_operator(text, m) else "", text)


def _is_operator(text: str, match: re.Match[str]) -> bool:
    """True for `2*3`, `2 * 3` and `2**3`: the same on both sides, which marks of emphasis are not."""
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if not (before == " " == after or (before.isalnum() and after.isalnum())):
        return False
    around = text[max(match.start() - 2, 0) : match.start()], text[match.end() : match.end() + 2]
    if match.group() not in ("*", "**") or not (around[0].isascii() and around[1].isascii()):
        return False
    close = around[0][-1:].isalnum() and around[1][:1].isalnum()
    apart = around[0][-1:] == " " == around[1][:1] and around[0][:1].isalnum() and around[1][1:].isalnum()
    return close or apart


def without_text_commands(text: str) -> str:
    r"""`\text{A}` and its kin as `A`, nested up to three deep."""
    for _ in range(3):
        if "\\" not in text or "{" not in text:
            return text
        shorter = _TEXT_COMMAND.sub(r"\1", text)
        if shorter == text:
            break
        text = shorter
    return text


def undressed(text: str) -> str:
    r"""The bare answer: no emphasis, `$...$`, `\(...\)`, `\text{...}`, outer quotes or brackets, final stop."""
    if text.isalnum() and text.isascii():
        return text
    return _undressed_short(text) if len(text) <= 200 else _undressed(text)


def _undressed(text: str) -> str:
    text = fold_width(text)
    if "\\\\" in text:  # LaTeX that was escaped once too often on its way: `\\frac` for `\frac`
        text = _DOUBLED.sub(lambda _: "\\", text)
    text = without_text_commands(without_emphasis(text.strip()))
    previous = None
    while previous != text and text and (text[0] in _FIRST or text[-1] in _LAST):
        previous = text
        text = _peel(text.strip())
    return " ".join(text.split())


_undressed_short = lru_cache(maxsize=16_384)(_undressed)

_FIRST, _LAST = frozenset(" \n\t$\\\"'《:,;"), frozenset(" \n\t$\\)]}\"'》.,;:!")
"""Characters without which there is nothing to peel off."""


_FRAMES = {
    "$": (("$$", "$$"), ("$", "$")),
    "\\": ((r"\(", r"\)"), (r"\[", r"\]")),
    '"': (('"', '"'),),
    "'": (("'", "'"),),
    "《": (("《", "》"),),
}


def _peel(text: str) -> str:
    box = _BOX.fullmatch(text) if text.startswith("\\") else None
    if box and box[1].count("{") == box[1].count("}") and "boxed" not in box[1]:
        return box[1]
    for opening, closing in _FRAMES.get(text[:1], ()):
        inner = text[len(opening) : len(text) - len(closing)]
        framed = text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing)
        if framed and opening not in inner and closing not in inner:
            return inner
    if text.endswith((".", ",", ";", ":")) and not text.endswith(".."):
        return text[:-1]
    if text.endswith("!") and text[-3:-1].isalpha():  # never the sign of a factorial
        return text[:-1]
    if text.startswith((":", ",", ";")):
        return text[1:]
    return text


def fold_diacritics(text: str) -> str:
    """Letters without their accents: `café` is `cafe`, `Müller` is `Muller`; other scripts stay."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not 0x300 <= ord(c) <= 0x36F))


def without_spacing_commands(text: str) -> str:
    r"""LaTeX spacing such as `\,` and `\quad`, and `\left` `\right`, taken away."""
    return _SPACING.sub(" ", text) if "\\" in text else text


# ---- words

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty""".split()
_TENS = "thirty forty fifty sixty seventy eighty ninety hundred thousand".split()
NUMBERS = {word: str(value) for value, word in enumerate(_SMALL)} | dict(
    zip(_TENS, "30 40 50 60 70 80 90 100 1000".split(), strict=True)
)
ARTICLES = frozenset({"a", "an", "the"})
NEGATIONS = frozenset(
    """not no never none neither nor without isn't aren't wasn't don't doesn't didn't can't cannot won't nothing
    nobody""".split()
)
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
NUMBERS |= dict(zip(_ORDINALS, "1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th".split(), strict=True))
COPULAS = frozenset(
    """is are was were be being been called named shows show displays says reads indicates has have""".split()
)
FILLER = frozenset(
    """in on at of to for by from with and it this that these those there here image picture photo figure diagram graph
    chart table map shown depicted seen visible displayed question answer than""".split()
)
_OPPOSITES = """
    increase decrease, increasing decreasing, increased decreased, increases decreases, male female, man woman,
    men women, boy girl, yes no, true false, left right, up down, top bottom, north south, east west, hot cold,
    higher lower,
    high low, highest lowest, more less, more fewer, most least, greater smaller, greater less, larger smaller,
    largest smallest, above below, before after, open closed, on off, inside outside, positive negative,
    maximum minimum, max min, longer shorter, longest shortest, older younger, oldest youngest, taller shorter,
    faster slower, fastest slowest, buy sell, import export, imports exports, inner outer, am pm, first last,
    northern southern, eastern western, northeast northwest, southeast southwest, acute obtuse, convex concave,
    rise fall, rising falling, internal external, upper lower, day night, warm cool, clockwise counterclockwise,
    clockwise anticlockwise, even odd, same different, possible impossible, legal illegal, correct incorrect,
    equal unequal, regular irregular, visible invisible, approve disapprove, agree disagree, satisfied dissatisfied,
    favorable unfavorable, favourable unfavourable, employed unemployed, likely unlikely, healthy unhealthy,
    mortgage rent, urban rural, domestic foreign, entry exit, arrival departure, win lose, won lost, gain loss,
    profit loss, debit credit, married unmarried, active inactive, complete incomplete, with without
"""
OPPOSITES = frozenset(frozenset(pair.split()) for pair in _OPPOSITES.split(","))
_IRREGULAR = dict(
    pair.split()
    for pair in """men man, women woman, children child, people person, feet foot, teeth tooth, mice mouse,
    geese goose,
    leaves leaf, knives knife, wolves wolf, shelves shelf, vertices vertex, axes axis""".split(",")
)


def singular(word: str) -> str:
    """A rough singular, the same for both forms of regular English nouns; short words and `-ss` stay."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "sses")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("xes", "ches", "shes", "oes")) else word[:-1]


MOST_CHARS = 1_000
_TOKEN = re.compile(
    r"[a-z]++(?![\w'+])"  # most words, at once
    r"|\d+(?:st|nd|rd|th)\b|[+\-]?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?%?|[^\W_]+(?:'[^\W_]+)*\+{0,2}"
    r"|(?<=\d)[:,](?=\s?[-+]?\d)"
    r"|[<>=≤≥≠+\-*/^%$°#&@|~√π]"
)
_BRACKET = re.compile(r"[()\[\]]")
_NOON = re.compile(r"\b([ap])\.\s?m\b\.?")
_INITIALS = re.compile(r"\b(?:[a-z]\.){2,}")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_SPACED_PERCENT = re.compile(r"(?<=\d)\s+%")
_SPACED_COLON = re.compile(r"(?<=\d)\s{1,3}:\s{0,3}(?=\d)")
_POSSESSIVE = re.compile(r"(?<=[\u4e00-\u9fff]{2})的$")


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[str, ...]:
    """Words, numbers and meaningful signs of a text, in order, without articles (unless nothing else is there)."""
    if not any(map(str.isalnum, text)):  # brackets to be closed, signs to be chosen: each sign counts
        return tuple(text.replace("$", "").replace('"', "").replace("'", "").replace("`", "").rstrip(".").split())
    # `H₂O`, `H_2O` and `H_{2}O` as `H2O`; `x²` as `x^2`.
    scripted = text[:MOST_CHARS]
    if not scripted.isascii():
        scripted = _SUPER.sub(lambda m: "^" + m[0].translate(_SCRIPTS), scripted).translate(_SCRIPTS)
    scripted = _CHARGE.sub(r"\1", scripted) if "^" in scripted else scripted
    text = (
        fold_diacritics(undressed(_LOWERED.sub(r"\1", scripted) if "_" in scripted else scripted))
        .casefold()
        .replace("\\%", "%")
    )
    if "." in text:
        text = _NOON.sub(r"\1m", text)
        text = _INITIALS.sub(lambda m: m.group().replace(".", ""), text)
    text = _HYPHEN.sub(" ", text) if "-" in text else text
    text = _SPACED_PERCENT.sub("%", text) if "%" in text else text
    text = _SPACED_COLON.sub(":", text) if " :" in text else text
    text = _POSSESSIVE.sub("", text) if text.endswith("的") else text
    found = [
        NUMBERS.get(word) or (word.replace(",", "") if word[-1].isdigit() else spelt(word))
        for word in _TOKEN.findall(text)
    ]
    if "," in found or ":" in found:  # a tuple or an interval: its brackets matter
        found = [*_BRACKET.findall(text), *found]
    return tuple(t for t in found if t not in ARTICLES) or tuple(found)


_SCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "01234567890123456789+-")
_SUPER = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_CHARGE = re.compile(r"(?<=[A-Za-z0-9)}])\^\{?(\d?[+-])\}?(?![\w.])")
_LOWERED = re.compile(r"(?<=[A-Za-z)}])_\{?(\d{1,3})\}?")


def opposite(a: str, b: str) -> bool:
    """True if the texts differ by words of opposite meaning, or by a negation."""
    left, right = set(tokens(a)), set(tokens(b))
    only_left, only_right = left - right, right - left
    if (only_left & NEGATIONS) != (only_right & NEGATIONS) and (only_left | only_right) & NEGATIONS:
        return True
    return any(frozenset((x, y)) in OPPOSITES for x in only_left for y in only_right)


def contains(text: str, gold: str) -> bool:
    """True if the words of a gold stand in a text, side by side."""
    return holds_in_order(tokens(text), tokens(gold)) if tokens(gold) else False


def holds_in_order(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """True if words stand in a row among others, plural or not."""
    singulars, target = [singular(w) for w in words], [singular(w) for w in wanted]
    return any(singulars[i : i + len(target)] == target for i in range(len(singulars) - len(target) + 1))
