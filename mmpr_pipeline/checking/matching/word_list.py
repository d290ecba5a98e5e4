"""Lists of words: the same items in any order, however they are joined."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.matching.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.matching.text import same_text
from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.text import tokens

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
        return unparseable("list_not_understood")
    left = list(items)
    for item in wanted:
        found = next((other for other in left if same_text(other, item)), None)
        if found is None:
            within = any(_words(item).issubset(_words(other)) for other in left)  # in a sentence, perhaps
            differs = len(items) == len(wanted) and not within
            return incorrect("list_other_items") if differs else unparseable("list_differs")
        left.remove(found)
    if (
        not left
        and {w.casefold() for w in wanted} <= _TRUTHS
        and [*map(str.casefold, items)] != [*map(str.casefold, wanted)]
    ):
        return incorrect("list_other_order")
    return correct("list_same_items") if not left else incorrect("list_more_items")
