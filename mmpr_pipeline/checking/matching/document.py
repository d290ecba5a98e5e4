"""Document answers: Average Normalised Levenshtein Similarity at 0.5 over several golds (Biten et al., ST-VQA 2019).

ANLS forgives reading errors in words. It must not forgive what changes the answer: another digit, or the opposite
word, is in doubt at best.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmpr_pipeline.checking.matching.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.reading.dates import same_date
from mmpr_pipeline.checking.reading.normalise import blanks, fold_width, undressed
from mmpr_pipeline.checking.reading.quantity import read_quantity
from mmpr_pipeline.checking.reading.text import contains, opposite

THRESHOLD = 0.5
MOST_CHARS = 600


def levenshtein(a: str, b: str, most: int) -> int:
    """Edit distance, or `most` + 1 where it is larger.

    A column of the table is one integer of bits, as Myers (1999) and Hyyrö (2001) do it: vertical steps up and down.
    """
    if abs(len(a) - len(b)) > most or not a or not b:
        return min(max(len(a), len(b)), most + 1)
    places: dict[str, int] = {}
    for i, char in enumerate(a):
        places[char] = places.get(char, 0) | 1 << i
    every, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    up, down, distance = every, 0, len(a)
    for char in b:
        here = places.get(char, 0)
        diagonal = (((here & up) + up) ^ up) | here | down
        right, left = (down | ~(diagonal | up)) & every, up & diagonal
        distance += (right & last > 0) - (left & last > 0)
        right = right << 1 | 1
        up, down = (left << 1 | ~(diagonal | right)) & every, right & diagonal
    return min(distance, most + 1)


def edit_similarity(prediction: str, gold: str) -> float:
    """1 - edit distance / longer length, case and blanks aside; 0 where it is below the threshold."""
    a, b = blanks(fold_width(prediction)).casefold(), blanks(fold_width(gold)).casefold()
    if a == b:
        return 1.0
    longest = max(len(a), len(b))
    if not a or not b or longest > MOST_CHARS:
        return 0.0
    distance = levenshtein(a, b, most=int(longest * THRESHOLD))
    score = 1 - distance / longest
    return score if score >= THRESHOLD else 0.0


def match_document(prediction: str, golds: Sequence[str]) -> Match:
    """The best of the golds decides; a near match with other digits, or the opposite word, is in doubt."""
    text = undressed(prediction)
    if not text:
        return unparseable("document_empty")
    scored = [(max(edit_similarity(text, gold), edit_similarity(text, undressed(gold))), gold) for gold in golds]
    score, gold = max(scored, key=lambda pair: pair[0])
    if score == 1.0:
        return correct("document_exact")
    if any(same_date(text, other) for other in golds):
        return correct("document_date")
    if score < THRESHOLD and any(contains(text, other) for other in golds):
        return unparseable("document_contains")
    if score < THRESHOLD:
        return incorrect("document_anls", f"{score:.2f}")
    read, wanted = read_quantity(text), read_quantity(gold)
    if read is not None and wanted is not None and (read.value, read.percent) != (wanted.value, wanted.percent):
        # `$10.5 million` for `$10.5 billion`: one word, and another amount.
        return unparseable("document_other_amount", gold[:80])
    if _digits(text) != _digits(gold):
        return unparseable("document_digits_differ", gold[:80])
    if opposite(text, gold):
        return unparseable("document_opposite", gold[:80])
    return correct("document_anls", f"{score:.2f}")


def _digits(text: str) -> str:
    return "".join(re.findall(r"\d", fold_width(text)))
