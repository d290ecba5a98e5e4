"""A plain number with what stands around it: sign, currency, scale word, percent, unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from mmpr_pipeline.checking.reading.normalise import undressed

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


@dataclass(frozen=True, slots=True)
class Quantity:
    """The value, scale words applied, and what stood around it."""

    value: float
    percent: bool
    money: bool
    unit: str
    digits: str
    scale: float


@lru_cache(maxsize=4096)
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
