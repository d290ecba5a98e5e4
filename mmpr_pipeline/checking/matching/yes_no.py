"""Yes or no against the gold."""

from __future__ import annotations

from mmpr_pipeline.checking.matching.match import Match, correct, incorrect, unparseable
from mmpr_pipeline.checking.reading.yes_no import gold_yes_no


def match_yes_no(said: bool | None, gold: str) -> Match:
    """Compare what was said with the gold."""
    wanted = gold_yes_no(gold)
    if wanted is None:
        return unparseable("yes_no_gold_unknown", gold[:80])
    if said is None:
        return unparseable("yes_no_unclear")
    return correct("yes_no") if said == wanted else incorrect("yes_no")
