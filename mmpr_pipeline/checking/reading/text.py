"""The words of a text as answers are compared by them: the one notion of the same text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from mmpr_pipeline.checking.reading.normalise import fold_diacritics, undressed
from mmpr_pipeline.checking.reading.spelling import spelt
from mmpr_pipeline.checking.reading.words import ARTICLES, NEGATIONS, NUMBERS, OPPOSITES, singular

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
