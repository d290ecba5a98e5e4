"""Chart answers: numbers within 5% (relaxed accuracy, Methani et al., PlotQA 2020; Masry et al., ChartQA 2022).

Years, text, signs and zero are exact. A percent sign on one side only is harmless where the question asks for a share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from mmpr_pipeline.checking.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.normalise import undressed
from mmpr_pipeline.checking.text import match_text

TOLERANCE = 0.05
_WORDS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_SCALES = _WORDS | {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9, "t": 1e12, "tn": 1e12}
_NUMBER = re.compile(
    r"(?P<sign>[+-]?) ?(?P<money>[$€£¥]|US\$|USD"
    r"|EUR)? ?(?P<sign2>[+-]?)(?P<digits>\d{1,15}(?:,\d{3}){0,4}(?:\.\d{0,12})?|\.\d{1,12})"
    r"(?:[eE](?P<exp>[+-]?\d{1,3}))? ?(?P<scale>k|m|mn|b|bn|t|tn|thousand|million|billion"
    r"|trillion)?(?![A-Za-z]) ?(?P<percent>%|percent|per cent)?"
    r"(?P<unit>(?: [A-Za-z°/²³]{1,20}){0,3})",
    re.IGNORECASE,
)
_SHARE = re.compile(r"percent|%|share|proportion|rate|ratio|fraction|百分", re.IGNORECASE)
_YEAR_ASKED = re.compile(r"\bwhat year|\bwhich year|\bin what year|\bwhen\b|\byears\b|哪一?年|年份", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A plain number of a chart with what stood around it."""

    value: float
    percent: bool
    money: bool
    unit: str
    digits: str
    scale: float


def read_quantity(text: str) -> Quantity | None:
    """The number that a whole text is, scale words applied; None for anything else."""
    text = undressed(text[:80]).replace("\\%", "%").replace("\\$", "$")
    match = _NUMBER.fullmatch(text)
    if match is None or (match["sign"] and match["sign2"]):
        return None
    value = float(f"{match['digits'].replace(',', '')}e{match['exp'] or 0}")
    if not isfinite(value):
        return None
    scale = _SCALES.get((match["scale"] or "").lower(), 1.0)
    value *= scale
    negative = "-" in match["sign"] + match["sign2"]
    return Quantity(
        -value if negative else value,
        bool(match["percent"]),
        bool(match["money"]),
        match["unit"].strip().lower(),
        match["digits"],
        scale,
    )


def is_year(quantity: Quantity) -> bool:
    """True for a bare four-digit whole number from 1500 to 2100."""
    bare = not (quantity.percent or quantity.money) and len(quantity.digits) == 4 and quantity.digits.isdigit()
    return bare and 1500 <= quantity.value <= 2100


def match_chart(prediction: str, golds: Sequence[str], question: str = "") -> Match:
    """The first gold that is matched decides; else the most hopeful verdict among them."""
    verdicts = [_match_one(prediction, gold, question) for gold in golds]
    order = {"correct": 0, "unparseable": 1, "incorrect": 2}
    return min(verdicts, key=lambda match: order[match.outcome])


def _match_one(prediction: str, gold: str, question: str) -> Match:
    wanted, said = read_quantity(gold), read_quantity(prediction)
    if wanted is None or said is None:
        return match_text(prediction, [gold], question)
    if wanted.unit and said.unit and wanted.unit.rstrip("s") != said.unit.rstrip("s"):
        return unparseable("chart_unit_differs", f"{said.unit} / {wanted.unit}")
    if is_year(wanted):
        return _match_year(said, wanted, question)
    return _match_value(said, wanted, question)


def _match_year(said: Quantity, wanted: Quantity, question: str) -> Match:
    if said.value == wanted.value and not said.percent:
        return correct("chart_year")
    if _YEAR_ASKED.search(question) or not _near(said.value, wanted.value):
        return incorrect("chart_year")
    return unparseable("chart_perhaps_year")


def _match_value(said: Quantity, wanted: Quantity, question: str) -> Match:
    a, b = said.value, wanted.value
    if said.scale != wanted.scale and not _near(a, b) and _near(a / said.scale, b / wanted.scale):
        return unparseable("chart_scale_differs", f"{a:g} / {b:g}")
    if said.percent == wanted.percent:
        return correct("chart_relaxed") if _near(a, b) else incorrect("chart_relaxed", f"{a:g} / {b:g}")
    fraction, whole = (a if said.percent else a * 100, b if wanted.percent else b * 100)
    if _near(fraction, whole):
        return correct("chart_percent_as_fraction")
    if _near(a, b):
        return correct("chart_percent_sign") if _SHARE.search(question) else unparseable("chart_percent_sign")
    return incorrect("chart_relaxed", f"{a:g} / {b:g}")


def _near(a: float, b: float) -> bool:
    """Within 5% of `b`, the same sign; zero only equals zero."""
    return a == b if b == 0 or a == 0 else abs(a - b) <= TOLERANCE * abs(b) * (1 + 1e-9)
