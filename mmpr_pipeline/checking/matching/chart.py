"""Chart answers: numbers within 5% (relaxed accuracy, Methani et al., PlotQA 2020; Masry et al., ChartQA 2022).

Years, text, signs and zero are exact. A percent sign on one side only is harmless where the question asks for a share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmpr_pipeline.checking.matching.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.matching.text import match_text
from mmpr_pipeline.checking.reading.quantity import Quantity, read_quantity

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
        return unparseable("chart_unit_differs", f"{read.unit} / {wanted.unit}")
    if is_year(wanted):
        if read.value == wanted.value and not read.percent:
            return correct("chart_year")
        if _YEAR_ASKED.search(question) or not _near(float(read.value), float(wanted.value)):
            return incorrect("chart_year")
        return unparseable("chart_perhaps_year")
    a, b = float(read.value), float(wanted.value)
    if read.scale != wanted.scale and not _near(a, b) and _near(a / read.scale, b / wanted.scale):
        return unparseable("chart_scale_differs", f"{a:g} / {b:g}")
    if read.percent == wanted.percent:
        if _near(a, b):
            return correct("chart_relaxed")
        if not read.percent and min(abs(a), abs(b)) <= 1 and (_near(100 * a, b) or _near(a, 100 * b)):
            return unparseable("chart_share_or_percent", f"{a:g} / {b:g}")
        return incorrect("chart_relaxed", f"{a:g} / {b:g}")
    fraction, whole = (a if read.percent else a * 100, b if wanted.percent else b * 100)
    if _near(fraction, whole):
        return correct("chart_percent_as_fraction")
    if _near(a, b):
        return correct("chart_percent_sign") if _SHARE.search(question) else unparseable("chart_percent_sign")
    return incorrect("chart_relaxed", f"{a:g} / {b:g}")


def _near(a: float, b: float) -> bool:
    """Within 5% of `b`, the same sign; zero only equals zero."""
    return a == b if b == 0 or a == 0 else abs(a - b) <= TOLERANCE * abs(b) * (1 + 1e-9)
