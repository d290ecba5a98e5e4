"""Short text answers, VQA-style but never deleting meaning: signs, negations, numbers and comparisons stay.

Case, articles, accents, number words, plurals, a lead-in ("It is ...") and a restated question are harmless. What
only contains the gold, or only resembles it, is in doubt. In lists of words the same items may stand in any order,
however they are joined.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmpr_pipeline.checking.case import Match
from mmpr_pipeline.checking.reading.normalise import (
    ARTICLES,
    COPULAS,
    FILLER,
    MOST_CHARS,
    NEGATIONS,
    holds_in_order,
    opposite,
    singular,
    tokens,
    undressed,
)
from mmpr_pipeline.checking.reading.quantity import read_quantity
from mmpr_pipeline.checking.reading.spelling import alike, is_chemical, is_initials, unabbreviated
from mmpr_pipeline.checking.reading.times import compare_times, same_date
from mmpr_pipeline.checking.values.numbers.units import parse_unit

_LEAD_IN = re.compile(
    r"^(?:(?:it|this|that|they|these|those|he|she|there|answer|the answer|i think it|i believe it)(?:'s|'re| is"
    r"| are| was| were| will| would| appears? to be| seems? to be)"
    r"|(?:it|this|the (?:image|picture|photo|figure|clock|watch|sign|label))"
    r" (?:shows|depicts|displays|says|reads))[ ]+",
    re.IGNORECASE,
)


def same_text(a: str, b: str, language: str = "en") -> str | None:
    """The rule by which two texts are the same answer, or None."""
    left, right = tokens(a), tokens(b)
    if not left or not right:
        return None
    if left == right or unabbreviated(left) == unabbreviated(right):
        return "text_exact"
    if _joined(left) == _joined(right) and not any(t[0].isdigit() or not t[0].isalnum() for t in left + right):
        return "text_joined"
    if len(left) == len(right) and left[:-1] == right[:-1] and singular(left[-1]) == singular(right[-1]):
        return "text_plural"
    if _same_quantity(a, b):
        return "text_number"
    if is_initials(a, right) or is_initials(b, left):
        return "text_initials"
    times = compare_times(undressed(a), undressed(b))
    if times is not None and times[0]:
        return "text_time"
    return "text_date" if same_date(a, b, language) else None


def _joined(words: Sequence[str]) -> str:
    """`McDonald's` and `McDonalds`, `ice cream` and `icecream`."""
    return "".join(words).replace("'", "")


def _same_list(a: str, b: str) -> bool:
    """`red and blue`, `blue, red`: the same things in another order."""
    if "[" in a + b or "(" in a + b:  # a list in brackets, whose order counts
        return False
    left, right = ([tokens(item) for item in _SEPARATOR.split(text) if item.strip()] for text in (a, b))
    return len(left) > 1 and len(left) == len(right) and all(left) and all(right) and sorted(left) == sorted(right)


_SEPARATOR = re.compile(r"\s*(?:,|;|&|\band\b)(?:\s*(?:,|&|\band\b))?\s*")
_ORDERED = re.compile(
    r"\border|\bsequence\b|\brespective|\bleft to right\b|\bright to left\b|\btop to bottom\b|\bfirst\b|\bsort|\brank"
    r"|\bfrom\b.{1,60}\bto\b",
    re.IGNORECASE,
)
"""A question for which the order of a list is part of the answer."""


def _same_quantity(a: str, b: str) -> bool:
    """One value in one money or unit (`$1.2 million`, `1.2 million dollars`; a currency may be left out), or in two
    units of one measure (`10 km`, `10 kilometers`, `10000 m`).
    """
    left, right = read_quantity(a), read_quantity(b)
    if left is None or right is None:
        return False
    other_money = left.currency and right.currency and left.currency != right.currency
    same_value = left.value == right.value and left.percent == right.percent
    if same_value and not other_money and singular(left.unit) == singular(right.unit):
        return True
    if not left.unit or not right.unit or left.percent or right.percent:
        return False
    one, other = parse_unit(left.unit), parse_unit(right.unit)
    if one is None or other is None or one.dimensions != other.dimensions:
        return False
    return left.value * one.worth == right.value * other.worth and {part[0] for part in one.dimensions}.isdisjoint(
        ("celsius", "fahrenheit")
    )


def restates(prediction: str, gold: str, question: str) -> bool:
    """True if the prediction is a sentence that says only the gold, in words of the question, up to a further clause.

    `<words of the question> is GOLD`, `GOLD is <words of the question>`, or the gold anywhere among these words where
    the question itself does not hold it; a negation or any other word makes it false.
    """
    clause = _FURTHER.split(prediction, maxsplit=1)[0]
    words, wanted, asked = tokens(clause), tokens(gold), {singular(t) for t in tokens(question)}
    n = len(wanted)
    if not wanted or len(words) <= n:
        return False
    if words[-n:] == wanted:
        before = words[:-n]
        if before[-1] in COPULAS or before[-1] in ("in", "at", "on", "by", "to"):
            return _only_asked(before, asked)
    if words[:n] == wanted:
        return _only_asked(words[n:], asked)
    if len(asked) > 2 and {singular(w) for w in wanted}.isdisjoint(asked):
        starts = [i for i in range(1, len(words) - n + 1) if words[i : i + n] == wanted]
        rest = (*words[: starts[0]], *words[starts[0] + n :]) if len(starts) == 1 else ()
        if not rest or not _only_asked(rest, asked):
            return False
        # Where order matters ("left of"), the question's words must stand in the question's own order.
        places = iter([singular(w) for w in tokens(question) if w not in _WEAK])
        return _RELATING.isdisjoint(rest) or all(singular(w) in places for w in rest if w not in _WEAK)
    return False


_COLOURS = frozenset(
    """red blue green yellow orange purple pink brown black white gray silver gold beige tan maroon navy teal turquoise
    violet cyan magenta cream golden""".split()  # noqa: SIM905
)
_COLOUR_ASKED = re.compile(r"\bcolou?rs?\b", re.IGNORECASE)


def names_colour(prediction: str, gold: str, question: str) -> bool:
    """True where a colour is asked for and a sentence has the gold as its only one, said of what was asked about."""
    words, wanted = tokens(prediction), tokens(gold)
    if len(wanted) != 1 or wanted[0] not in _COLOURS or not _COLOUR_ASKED.search(question):
        return False
    if {w for w in words if w in _COLOURS} != {wanted[0]} or not NEGATIONS.isdisjoint(words):
        return False
    asked = {singular(t) for t in tokens(question)}
    at = words.index(wanted[0])
    after = words[at + 1 : at + 2]
    return singular(after[0]) in asked if after else at > 0 and words[at - 1] in COPULAS


_RELATING = frozenset(
    """left right above below under over behind before after between than beside next front top bottom inside outside
    older younger larger smaller bigger more less""".split()  # noqa: SIM905
)
"""Words by which `the dog is left of the cat` is not what `the cat is left of the dog` says."""


_FURTHER = re.compile(
    r",? (?:which|who|where|because|since)\b|, (?:as|located|indicated|shown|a|an|the)\b", re.IGNORECASE
)


_STATES = frozenset("wearing wears worn located situated found placed positioned sitting standing lying".split())  # noqa: SIM905


def _only_asked(words: Sequence[str], asked: set[str]) -> bool:
    if not set(words).isdisjoint(NEGATIONS):
        return False
    return all(w in COPULAS or w in _STATES or w in FILLER or w in ARTICLES or singular(w) in asked for w in words)


def match_text(prediction: str, golds: Sequence[str], question: str = "", language: str = "en") -> Match:
    """Compare a short text with several golds, each as good as the others."""
    text = undressed(prediction[:MOST_CHARS])
    if not tokens(text):
        return Match("unparseable", "text_empty")
    bare = _LEAD_IN.sub("", text)
    for candidate in dict.fromkeys((text, bare)):
        for gold in golds:
            rule = same_text(candidate, gold, language)
            if rule is not None:
                if rule == "text_exact" and _other_capitals(candidate, gold):
                    return Match("unparseable", "text_letter_case", gold[:80])
                return Match("correct", rule)
    if not _ORDERED.search(question) and any(_same_list(bare, gold) for gold in golds):
        return Match("correct", "text_list")
    if any(restates(candidate, gold, question) for candidate in (text, bare) for gold in golds):
        return Match("correct", "text_restated")
    if any(names_colour(bare, gold, question) for gold in golds):
        return Match("correct", "text_colour")
    words = tokens(bare)
    for gold in golds:
        wanted = tokens(gold)
        if compare_times(undressed(bare), undressed(gold)) or same_date(bare, gold, language) is False:
            return Match("incorrect", "text_other_time", gold[:80])
        if holds_in_order(words, wanted) or holds_in_order(wanted, words):
            return Match("unparseable", "text_contains", gold[:80])
        if opposite(bare, gold):
            return Match("incorrect", "text_opposite", gold[:80])
        if _resembles(words, wanted) or is_chemical(undressed(gold)) != is_chemical(undressed(bare)):
            return Match("unparseable", "text_resembles", gold[:80])
    return Match("incorrect", "text_differs")


def _other_capitals(text: str, gold: str) -> bool:
    """`CO` for `Co`: formulas that differ in their capitals only are other substances."""
    a, b = undressed(text), undressed(gold)
    return (
        a != b
        and a.casefold() == b.casefold() not in ("no", "as", "in", "i", "he")
        and is_chemical(a)
        and is_chemical(b)
    )


def _resembles(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """True where half of the words of the shorter side may stand in the other one (see `alike`).

    Signs must be equal, and so must numbers where both sides have some: `a new one` says no number.
    """
    left, right = (
        [singular(w) for w in dict.fromkeys(side) if w not in _WEAK] or [singular(w) for w in side]
        for side in (words, wanted)
    )
    odd = [w for w in {*left} ^ {*right} if not w[0].isalpha()]
    one_sided = all(w[0].isdigit() for w in odd) and not all(any(w[0].isdigit() for w in s) for s in (left, right))
    if (odd and not one_sided) or not left or not right:
        return False
    short, long = sorted((left, right), key=len)
    if len(short) > _MOST_WORDS or len(long) > 4 * _MOST_WORDS:
        return False
    found = sum(any(alike(a, b) for b in long) for a in short)
    return found * 2 >= len(short)


_WEAK = COPULAS | FILLER | ARTICLES
_MOST_WORDS = 30


# ---- lists of words

_JOINT = re.compile(r"\s?[,;\n]\s?(?:and\s)?|\s(?:and|&)\s|和|与")
MOST_ITEMS = 50
_TRUTHS = frozenset({"true", "false", "yes", "no", "t", "f", "对", "错"})
"""Answers to several questions, whose order says which is which."""


def list_items(text: str) -> list[str]:
    """The items of a list, without its brackets and quotes."""
    bare = undressed(undressed(text).strip("[](){}"))
    return [item for part in _JOINT.split(bare) if (item := part.strip(" \"'[](){}"))]


def is_word_list(gold: str) -> bool:
    """True if a gold is a list of words: at least one of its items is not mathematics."""
    return any(
        re.fullmatch(r"[^\W\d_][^\W_]*(?:[ '-][^\W_]+){0,6}", item) and len(item) > 1 for item in list_items(gold)
    )


def _words(text: str) -> set[str]:
    return set(tokens(text.casefold()))


def match_word_list(prediction: str, gold: str) -> Match:
    """Every gold item has an item of its own, and none is left over."""
    items, wanted = list_items(prediction), list_items(gold)
    if not items or max(len(items), len(wanted)) > MOST_ITEMS:
        return Match("unparseable", "list_not_understood")
    left = list(items)
    for item in wanted:
        found = next((other for other in left if same_text(other, item)), None)
        if found is None:
            within = any(_words(item).issubset(_words(other)) for other in left)  # in a sentence, perhaps
            differs = len(items) == len(wanted) and not within
            return Match("incorrect", "list_other_items") if differs else Match("unparseable", "list_differs")
        left.remove(found)
    if (
        not left
        and {w.casefold() for w in wanted} <= _TRUTHS
        and [*map(str.casefold, items)] != [*map(str.casefold, wanted)]
    ):
        return Match("incorrect", "list_other_order")
    return Match("correct", "list_same_items") if not left else Match("incorrect", "list_more_items")
