"""Numbers, formulas and lists: hands an extracted answer to the matcher of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mmpr_pipeline.checking.match import Match
from mmpr_pipeline.checking.math_match import match_list, match_math
from mmpr_pipeline.checking.number import match_number

if TYPE_CHECKING:
    from mmpr_pipeline.checking.checker import Gold

_MATCHERS = {"number": match_number, "math": match_math, "list": match_list}


def match_formula(text: str, gold: str, known: Gold) -> Match:
    """Compare by the kind that was asked."""
    matcher = _MATCHERS.get(known.asked.kind, match_math)
    # One precision for each part of the gold is understood too; `~` is a blank of LaTeX, seen in \mathrm{~cm}.
    precision = cast("float | None", known.precision)
    return matcher(text.replace("{~", "{ "), gold, question=known.asked.question, unit=known.unit, precision=precision)
