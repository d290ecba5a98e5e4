"""What a matcher says of one extracted answer against one gold: the contract between the modules of this room."""

from __future__ import annotations

from typing import NamedTuple

from mmpr_pipeline.core.verdict import Outcome


class Match(NamedTuple):
    """One decision. `unparseable` means in doubt: the answer was not understood, or could not be decided safely."""

    outcome: Outcome
    rule: str
    detail: str = ""


def correct(rule: str, detail: str = "") -> Match:
    """The prediction is the gold, by `rule`."""
    return Match("correct", rule, detail)


def incorrect(rule: str, detail: str = "") -> Match:
    """The prediction is not the gold, by `rule`."""
    return Match("incorrect", rule, detail)


def unparseable(rule: str, detail: str = "") -> Match:
    """No safe decision; the rollout is used in no pair."""
    return Match("unparseable", rule, detail)
