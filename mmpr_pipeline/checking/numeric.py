"""Numbers, formulas and lists: hands an extracted answer to the matcher of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmpr_pipeline.checking.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.normalise import undressed

if TYPE_CHECKING:
    from mmpr_pipeline.checking.checker import Gold


def match_formula(text: str, gold: str, known: Gold) -> Match:
    """Compare by the kind that was asked."""
    a, b = undressed(text).replace(" ", "").replace(",", ""), undressed(gold).replace(" ", "").replace(",", "")
    if a == b:
        return correct("same_text")
    try:
        return correct("same_value") if abs(float(a) - float(b)) < 1e-9 else incorrect("value")
    except ValueError:
        return unparseable("not_understood")
