"""Preset pairs: the source brings the chosen and the rejected response."""

from __future__ import annotations

from collections.abc import Sequence

from mmpr_pipeline.core.records import CheckedRollout, PreferencePair, Question
from mmpr_pipeline.pairing.pairs import make_pair


def pair_as_given(
    question: Question, prompt: str, checked: Sequence[CheckedRollout]
) -> tuple[list[PreferencePair], str | None]:
    """The pair that the source brings, or the reason why it is none."""
    if len(checked) < 2:
        return [], "no_given_pair"
    chosen, rejected = checked[:2]
    if chosen.text.strip() == rejected.text.strip():
        return [], "same_responses"
    return [make_pair(question, prompt, chosen, rejected, "given")], None
