"""Numbers, formulas and lists: hands an extracted answer to the matcher of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmpr_pipeline.checking.chart import read_quantity
from mmpr_pipeline.checking.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.normalise import undressed

if TYPE_CHECKING:
    from mmpr_pipeline.checking.checker import Gold


def match_formula(text: str, gold: str, known: Gold) -> Match:
    """Compare by the kind that was asked."""
    a, b = undressed(text).replace(" ", "").replace(",", ""), undressed(gold).replace(" ", "").replace(",", "")
    if a == b:
        return correct("same_text")
    said, wanted = read_quantity(text), read_quantity(gold)
    if said is not None and wanted is not None and said.percent == wanted.percent:
        if said.unit and wanted.unit and said.unit != wanted.unit:
            return unparseable("unit_differs")
        return correct("same_value") if said.value == wanted.value else incorrect("other_value")
    try:
        return correct("same_value") if abs(float(a) - float(b)) < 1e-9 else incorrect("value")
    except ValueError:
        return unparseable("not_understood")
