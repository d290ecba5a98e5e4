"""Short text answers, VQA-style but never deleting meaning: signs, negations, numbers and comparisons stay.

Case, articles, accents, number words, plurals, a lead-in ("It is ...") and a restated question are harmless. What
only contains the gold, or only resembles it, is in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from mmpr_pipeline.checking.matching.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.reading.dates import read_date
from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.number_words import number_from_words
from mmpr_pipeline.checking.reading.plain_quantity import read_quantity
from mmpr_pipeline.checking.reading.text import MOST_CHARS, holds_in_order, opposite, tokens
from mmpr_pipeline.checking.reading.words import ARTICLES, COPULAS, FILLER, NEGATIONS, singular

_LEAD_IN = re.compile(
    r"^(?:(?:it|this|that|they|these|those|he|she|there|answer|the answer|i think it|i believe it)(?:'s|'re| is"
    r"| are| was| were| will| would| appears? to be| seems? to be)"
    r"|(?:it|this|the (?:image|picture|photo|figure)) (?:shows|depicts|displays|says|reads))[ ]+",
    re.IGNORECASE,
)


def same_text(a: str, b: str) -> str | None:
    """The rule by which two texts are the same answer, or None."""
    left, right = tokens(a), tokens(b)
    if not left or not right:
        return None
    if left == right:
        return "text_exact"
    if "".join(left) == "".join(right) and not any(t[0].isdigit() or not t[0].isalnum() for t in left + right):
        return "text_joined"
    if len(left) == len(right) and left[:-1] == right[:-1] and singular(left[-1]) == singular(right[-1]):
        return "text_plural"
    if all(_plain_number(t) is not None for t in (left[0], right[0])) and len(left) == len(right) == 1:
        return "text_number" if _plain_number(left[0]) == _plain_number(right[0]) else None
    if _same_amount(a, b):
        return "text_amount"
    if _in_words(a, b) is not None:
        return "text_number" if _in_words(a, b) == _in_words(b, a) else None
    date = read_date(a)
    return "text_date" if date is not None and date == read_date(b) else None


def _same_amount(a: str, b: str) -> bool:
    """`$1.2 million` and `1.2 million dollars`: the same value in the same money or unit."""
    left, right = read_quantity(a), read_quantity(b)
    if left is None or right is None or left.value != right.value or left.percent != right.percent:
        return False
    kinds = ["dollars" if q.money and not q.unit else q.unit.rstrip("s") + "s" for q in (left, right)]
    return kinds[0] == kinds[1]


def _in_words(text: str, other: str) -> Fraction | None:
    """The value of a number in words, or in digits where the other text is in words."""
    value = number_from_words(undressed(text))
    if value is None and number_from_words(undressed(other)) is not None:
        plain = _plain_number(undressed(text))
        return Fraction(plain[0]) if plain is not None and not plain[1] else None
    return value


def _plain_number(token: str) -> tuple[float, str] | None:
    """Value and marks (`$`, `%`) of a token that is a number."""
    match = re.fullmatch(r"([+-]?)(\$?)(\d{1,15}(?:\.\d{1,15})?)(%?)", token)
    return (float(match[1] + match[3]), match[2] + match[4]) if match else None


def restates(prediction: str, gold: str, question: str) -> bool:
    """True if the prediction is a sentence that says only the gold, in words of the question.

    Either `<words of the question> is GOLD` or `GOLD is <words of the question>`; other words make it false.
    """
    words, wanted, asked = tokens(prediction), tokens(gold), {singular(t) for t in tokens(question)}
    n = len(wanted)
    if not wanted or len(words) <= n:
        return False
    if words[-n:] == wanted:
        before = words[:-n]
        if before[-1] in COPULAS or before[-1] in ("in", "at", "on", "by", "to"):
            return _only_asked(before, asked)
    if words[:n] == wanted:
        after = words[n:]
        return _only_asked(after, asked)
    return False


def _only_asked(words: Sequence[str], asked: set[str]) -> bool:
    if not set(words).isdisjoint(NEGATIONS):
        return False
    return all(w in COPULAS or w in FILLER or w in ARTICLES or singular(w) in asked for w in words)


def match_text(prediction: str, golds: Sequence[str], question: str = "") -> Match:
    """Compare a short text with several golds, each as good as the others."""
    text = undressed(prediction[:MOST_CHARS])
    if not tokens(text):
        return unparseable("text_empty")
    bare = _LEAD_IN.sub("", text)
    for candidate in dict.fromkeys((text, bare)):
        for gold in golds:
            rule = same_text(candidate, gold)
            if rule is not None:
                return correct(rule)
    if any(restates(candidate, gold, question) for candidate in (text, bare) for gold in golds):
        return correct("text_restated")
    return _different(bare, golds)


def _different(text: str, golds: Sequence[str]) -> Match:
    words = tokens(text)
    for gold in golds:
        wanted = tokens(gold)
        if holds_in_order(words, wanted) or holds_in_order(wanted, words):
            return unparseable("text_contains", gold[:80])
        if opposite(text, gold):
            return incorrect("text_opposite", gold[:80])
        if _resembles(words, wanted):
            return unparseable("text_resembles", gold[:80])
    return incorrect("text_differs")


def _resembles(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Same words in another order, or the greater part shared, numbers and signs being equal."""
    left, right = {singular(w) for w in words}, {singular(w) for w in wanted}
    numbers = {w for w in left ^ right if not w[0].isalpha()}
    return not numbers and len(left & right) * 2 > max(len(left), len(right))
