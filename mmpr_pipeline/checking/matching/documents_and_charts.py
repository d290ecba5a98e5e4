"""Answers read from documents and charts.

Charts: numbers within 5% (relaxed accuracy, Methani et al., PlotQA 2020; Masry et al., ChartQA 2022). Years, text,
signs and zero are exact. A percent sign on one side only is harmless where the question asks for a share.

Documents: Average Normalised Levenshtein Similarity at 0.5 over several golds (Biten et al., ST-VQA 2019). ANLS
forgives reading errors in words. It must not forgive what changes the answer: another digit, or the opposite word, is
in doubt at best.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmpr_pipeline.checking.case import Match
from mmpr_pipeline.checking.matching.text import match_text
from mmpr_pipeline.checking.reading.normalise import contains, fold_width, opposite, undressed
from mmpr_pipeline.checking.reading.quantity import Quantity, read_quantity
from mmpr_pipeline.checking.reading.times import same_date

TOLERANCE = 0.05
_SHARE = re.compile(r"percent|%|share|proportion|rate|ratio|fraction|百分", re.IGNORECASE)
_YEAR_ASKED = re.compile(r"\bwhat year|\bwhich year|\bin what year|\bwhen\b|\byears\b|哪一?年|年份", re.IGNORECASE)


def is_year(quantity: Quantity) -> bool:
    """True for a bare four-digit whole number from 1500 to 2100."""
    bare = not (quantity.percent or quantity.currency) and len(quantity.digits) == 4 and quantity.digits.isdigit()
    return bare and 1500 <= quantity.value <= 2100


def match_chart(prediction: str, golds: Sequence[str], question: str = "") -> Match:
    """The first gold that is matched decides; else the most hopeful verdict among them."""
    verdicts = [_match_one(prediction, gold, question) for gold in golds]
    order = {"correct": 0, "unparseable": 1, "incorrect": 2}
    return min(verdicts, key=lambda match: order[match.outcome])


def _match_one(prediction: str, gold: str, question: str) -> Match:
    wanted, read = read_quantity(gold), read_quantity(prediction)
    if wanted is None or read is None:
        return match_text(prediction, [gold], question)
    if wanted.unit and read.unit and wanted.unit.rstrip("s") != read.unit.rstrip("s"):
        return Match("unparseable", "chart_unit_differs", f"{read.unit} / {wanted.unit}")
    if is_year(wanted):
        if read.value == wanted.value and not read.percent:
            return Match("correct", "chart_year")
        if _YEAR_ASKED.search(question) or not _near(float(read.value), float(wanted.value)):
            return Match("incorrect", "chart_year")
        return Match("unparseable", "chart_perhaps_year")
    a, b = float(read.value), float(wanted.value)
    if read.scale != wanted.scale and not _near(a, b) and _near(a / read.scale, b / wanted.scale):
        return Match("unparseable", "chart_scale_differs", f"{a:g} / {b:g}")
    if read.percent == wanted.percent:
        if _near(a, b):
            return Match("correct", "chart_relaxed")
        if not read.percent and min(abs(a), abs(b)) <= 1 and (_near(100 * a, b) or _near(a, 100 * b)):
            return Match("unparseable", "chart_share_or_percent", f"{a:g} / {b:g}")
        return Match("incorrect", "chart_relaxed", f"{a:g} / {b:g}")
    fraction, whole = (a if read.percent else a * 100, b if wanted.percent else b * 100)
    if _near(fraction, whole):
        return Match("correct", "chart_percent_as_fraction")
    if _near(a, b):
        return Match("correct" if _SHARE.search(question) else "unparseable", "chart_percent_sign")
    return Match("incorrect", "chart_relaxed", f"{a:g} / {b:g}")


def _near(a: float, b: float) -> bool:
    """Within 5% of `b`, the same sign; zero only equals zero."""
    return a == b if b == 0 or a == 0 else abs(a - b) <= TOLERANCE * abs(b) * (1 + 1e-9)


# ---- documents

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
    a, b = (" ".join(fold_width(text).split()).casefold() for text in (prediction, gold))
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
        return Match("unparseable", "document_empty")
    scored = [(max(edit_similarity(text, gold), edit_similarity(text, undressed(gold))), gold) for gold in golds]
    score, gold = max(scored, key=lambda pair: pair[0])
    if score == 1.0:
        return Match("correct", "document_exact")
    if any(same_date(text, other) for other in golds):
        return Match("correct", "document_date")
    if score < THRESHOLD and any(contains(text, other) for other in golds):
        return Match("unparseable", "document_contains")
    if score < THRESHOLD:
        return Match("incorrect", "document_anls", f"{score:.2f}")
    read, wanted = read_quantity(text), read_quantity(gold)
    if read is not None and wanted is not None and (read.value, read.percent) != (wanted.value, wanted.percent):
        # `$10.5 million` for `$10.5 billion`: one word, and another amount.
        return Match("unparseable", "document_other_amount", gold[:80])
    if _digits(text) != _digits(gold):
        return Match("unparseable", "document_digits_differ", gold[:80])
    if opposite(text, gold):
        return Match("unparseable", "document_opposite", gold[:80])
    return Match("correct", "document_anls", f"{score:.2f}")


def _digits(text: str) -> str:
    return "".join(re.findall(r"\d", fold_width(text)))
