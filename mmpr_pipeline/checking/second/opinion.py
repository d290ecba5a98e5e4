"""What becomes of a verdict when a verifier has voted. Pure.

A verifier is never enough for a rejection: its "incorrect" leaves a doubtful verdict doubtful unless nearly all votes
agree, and its "correct" turns an incorrect verdict into a doubtful one, so that the rollout is used in no pair.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmpr_pipeline.core.verdict import AnswerKind, Outcome

KINDS = frozenset({"text", "math", "number"})
_BEYOND = frozenset({"marked", "cut_off", "no_thinking", "no_gold"})
"""Rules whose verdict is not about the answer."""


def is_asked(kind: AnswerKind, outcome: Outcome | None, rule: str | None, extracted: str | None) -> bool:
    """Whether a verifier is asked about a verdict: doubtful or incorrect, of these kinds, with an extracted answer."""
    return kind in KINDS and outcome in ("incorrect", "unparseable") and bool(extracted) and rule not in _BEYOND


def settled(outcome: Outcome, votes: Sequence[bool | None], agreement: float) -> tuple[Outcome, str] | None:
    """The outcome and the rule after the votes; None where the verdict stays as it is."""
    correct, incorrect = votes.count(True), votes.count(False)
    if outcome == "incorrect":
        return ("unparseable", "second_disagrees") if correct > incorrect else None
    if not votes:
        return None
    if correct >= agreement * len(votes):
        return "correct", "second_correct"
    return ("incorrect", "second_incorrect") if incorrect >= agreement * len(votes) else None
