"""Numbers, formulas and lists: hands an extracted answer to the matcher of its kind."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.case import Gold
from mmpr_pipeline.checking.matching.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.matching.math import match_math
from mmpr_pipeline.checking.matching.word_list import is_word_list, match_word_list

_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)


def match_formula(text: str, gold: str, known: Gold) -> Match:
    """Compare by the kind that was asked; two plain whole numbers, most answers there are, without further ado."""
    if _WHOLE.fullmatch(text) and _WHOLE.fullmatch(gold) and known.precision is None:
        return correct("same_number") if int(text) == int(gold) else incorrect("other_value")
    if known.asked.kind == "list" and is_word_list(gold):
        return match_word_list(text, gold)
    if ":" in gold and ":" not in text and re.fullmatch(r"\d{1,9}(?:\s+\d{1,9})+", text):
        return unparseable("ratio_or_time")
    unit = known.unit or None
    if unit and not _RATE.search(text):
        # Of a rate (`$, per year`) what is measured, where the answer leaves the rest unsaid (`$6`).
        unit = _RATE.split(unit, maxsplit=1)[0]
    return match_math(
        _TIE.sub(" ", text),
        _TIE.sub(" ", gold),
        question=known.asked.question,
        unit=unit,
        precision=known.precision,
        language=known.asked.language,
    )


_TIE = re.compile(r"(?<=[A-Za-z{}])~|(?<=\d)~(?=[\\A-Za-z])")
"""TeX's blank at which no line breaks: `5~\\mathrm{~cm}`. `~5` is about five, and `5~10` a range."""
_RATE = re.compile(r",?\s*\bper\b|/\s?[A-Za-z]")
