"""Short text answers, VQA-style but never deleting meaning: signs, negations, numbers and comparisons stay.

Case, articles, accents, number words, plurals, a lead-in ("It is ...") and a restated question are harmless. What
only contains the gold, or only resembles it, is in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from mmpr_pipeline.checking.dates import read_date
from mmpr_pipeline.checking.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.normalise import fold_diacritics, undressed

MOST_CHARS = 1_000
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"  # fmt: skip
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_WORDS.split())}
_NUMBER_WORDS |= {w: str(v) for w, v in zip(["thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand"], (30, 40, 50, 60, 70, 80, 90, 100, 1000), strict=True)}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset(
    ["not", "no", "never", "none", "neither", "nor", "without", "isn't", "aren't", "wasn't", "don't", "doesn't", "didn't", "can't", "cannot", "won't", "nothing", "nobody"]
)
_COPULAS = frozenset(
    ["is", "are", "was", "were", "be", "being", "been", "called", "named", "shows", "show", "displays", "says", "reads", "indicates", "has", "have"]
)
_FILLER = frozenset(
    ["in", "on", "at", "of", "to", "for", "by", "from", "with", "and", "it", "this", "that", "these", "those", "there", "here", "image", "picture", "photo", "figure", "diagram", "graph", "chart", "table", "map", "shown", "depicted", "seen", "visible", "displayed", "question", "answer"]
)
_TOKEN = re.compile(r"[+\-]?\$?\d[\d,]*(?:\.\d+)?%?|[^\W_]+(?:'[^\W_]+)*\+{0,2}|[<>=≤≥≠+\-*/^%$°#&@|~√π]")
_LEAD_IN = re.compile(
    r"^(?:(?:it|this|that|they|these|those|he|she|there|answer|the answer|i think it|i believe it)(?:'s|'re| is| are| was| were| appears? to be| seems? to be)"
    r"|(?:it|this|the (?:image|picture|photo|figure)) (?:shows|depicts|displays|says|reads))[ ]+",
    re.IGNORECASE,
)
_OPPOSITES = [
    "increase decrease", "increasing decreasing", "increased decreased", "male female", "man woman", "men women", "yes no", "true false",
    "left right", "up down", "top bottom", "north south", "east west", "hot cold", "higher lower", "high low", "more less", "greater smaller",
    "larger smaller", "above below", "before after", "open closed", "on off", "inside outside", "positive negative", "maximum minimum",
    "max min", "longer shorter", "older younger", "buy sell", "import export", "imports exports", "inner outer", "am pm", "first last",
    "northern southern", "eastern western", "northeast northwest", "southeast southwest", "acute obtuse", "convex concave", "rise fall",
    "import export", "internal external", "upper lower", "day night", "warm cool", "clockwise counterclockwise", "even odd", "same different",
    "possible impossible", "legal illegal", "correct incorrect", "equal unequal", "regular irregular", "visible invisible", "approve disapprove",
    "agree disagree", "satisfied dissatisfied", "favorable unfavorable", "employed unemployed", "likely unlikely", "healthy unhealthy",
]  # fmt: skip
_OPPOSITE = {frozenset(pair.split()) for pair in _OPPOSITES}
_IRREGULAR = {"men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth", "mice": "mouse", "geese": "goose", "leaves": "leaf", "knives": "knife", "wolves": "wolf", "shelves": "shelf"}  # fmt: skip


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[str, ...]:
    """Words, numbers and meaningful signs of a text, in order, without articles (unless nothing else is there)."""
    text = fold_diacritics(undressed(text[:MOST_CHARS])).casefold().replace("\\%", "%")
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", text)
    text = re.sub(r"\b(?:[a-z]\.){2,}", lambda m: m.group().replace(".", ""), text)
    text = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", " ", text)
    found = [
        _NUMBER_WORDS.get(token, token.replace(",", "") if token[-1].isdigit() else token)
        for token in _TOKEN.findall(text)
    ]
    return tuple(t for t in found if t not in _ARTICLES) or tuple(found)


def singular(word: str) -> str:
    """A rough singular, the same for both forms of regular English nouns; short words and `-ss` stay."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "oes")):
        return word[:-2]
    return word if word.endswith("sses") else word[:-1]


def opposite(a: str, b: str) -> bool:
    """True if the texts differ by words of opposite meaning, or by a negation."""
    left, right = set(tokens(a)), set(tokens(b))
    only_left, only_right = left - right, right - left
    if (only_left & _NEGATIONS) != (only_right & _NEGATIONS) and (only_left | only_right) & _NEGATIONS:
        return True
    return any(frozenset((x, y)) in _OPPOSITE for x in only_left for y in only_right)


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
    date = read_date(a)
    return "text_date" if date is not None and date == read_date(b) else None


def _plain_number(token: str) -> float | None:
    return float(token) if re.fullmatch(r"[+-]?\d{1,15}(?:\.\d{1,15})?", token) else None


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
        if before[-1] in _COPULAS or before[-1] in ("in", "at", "on", "by"):
            return _only_asked(before, asked)
    if words[:n] == wanted:
        after = words[n:]
        return _only_asked(after, asked)
    return False


def _only_asked(words: Sequence[str], asked: set[str]) -> bool:
    if not set(words).isdisjoint(_NEGATIONS):
        return False
    return all(w in _COPULAS or w in _FILLER or w in _ARTICLES or singular(w) in asked for w in words)


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
        if _contains(words, wanted) or _contains(wanted, words):
            return unparseable("text_contains", gold[:80])
        if opposite(text, gold):
            return incorrect("text_opposite", gold[:80])
        if _resembles(words, wanted):
            return unparseable("text_resembles", gold[:80])
    return incorrect("text_differs")


def _contains(words: Sequence[str], wanted: Sequence[str]) -> bool:
    singulars, target = [singular(w) for w in words], [singular(w) for w in wanted]
    return any(singulars[i : i + len(target)] == target for i in range(len(singulars) - len(target) + 1))


def _resembles(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Same words in another order, or the greater part shared, numbers and signs being equal."""
    left, right = {singular(w) for w in words}, {singular(w) for w in wanted}
    numbers = {w for w in left ^ right if not w[0].isalpha()}
    return not numbers and len(left & right) * 2 > max(len(left), len(right))
