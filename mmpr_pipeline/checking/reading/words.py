"""Words that answers are compared by: numbers, negations, opposites, plurals, and words that add nothing."""

# ruff: noqa: SIM905  (words read better as words)
from __future__ import annotations

_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty""".split()
_TENS = "thirty forty fifty sixty seventy eighty ninety hundred thousand".split()
NUMBERS = {word: str(value) for value, word in enumerate(_UNITS)} | dict(
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
