"""What was sampled beside the questions themselves, in sentences: for the terminal, the report and the card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmpr_pipeline.rollouts.prompts import UNDECIDED_VOTES

_UNDECIDED = dict(zip(UNDECIDED_VOTES, ("have no answer to vote on", "have no majority", "are unanimous"), strict=True))

_NAME_THEIR_PAIRS = {"correctness", "dropout_ntp", "feedback", "format", "preset", "vote"}
"""Strategies whose pairs bear their name. Pairs of `dropout_preset` are DropNTP's; `blind` and `step` make none."""


def without_pairs(strategies: Iterable[str], pairs: Mapping[str, int]) -> list[str]:
    """Which of the strategies of a build made no pair, where others did."""
    idle = [name for name in strategies if name in _NAME_THEIR_PAIRS and not pairs.get(name)]
    return [f"The strategy {name} made no pair." for name in idle] if pairs else []


def beside_sentences(counts: Mapping[str, Any]) -> list[str]:
    """What each strategy beside correctness and DropNTP took, in tokens, and what it gave."""
    tokens, rollouts, pairs, unpaired = (
        counts.get("beside_tokens", {}), counts["rollouts"], counts["pairs"], counts["unpaired"]
    )  # fmt: skip
    sentences = []
    if "blind" in rollouts:
        dropped = unpaired.get("solved_without_image", 0)
        sentences.append(
            f"Blind filter: {rollouts['blind']:,} answers without the image ({tokens.get('blind', 0):,} tokens); "
            f"{dropped:,} questions dropped that are solved so."
        )
    if "step" in rollouts:
        sentences.append(
            f"Step data: {rollouts['step']:,} completions of first steps ({tokens.get('step', 0):,} tokens); "
            "`mmpr export --to steps` writes their labels."
        )
    if "claim" in rollouts:
        listed = (
            f", {rollouts['claims']:,} lists of claims ({tokens.get('claims', 0):,})" if "claims" in rollouts else ""
        )
        sentences.append(
            f"Feedback: {rollouts['claim']:,} verdicts of the model on claims ({tokens.get('claim', 0):,} tokens)"
            f"{listed}: {pairs.get('feedback', 0):,} pairs; {unpaired.get('same_scores', 0):,} questions whose answers "
            "all score alike."
        )
    if formed := pairs.get("format"):
        sentences.append(
            f"Format: {formed:,} pairs of a right answer in the form that was asked for over one without it, from the "
            "questions' own rollouts: no further tokens."
        )
    undecided = {name: unpaired[name] for name in UNDECIDED_VOTES if name in unpaired}
    if "vote" in pairs or undecided:
        without = "".join(f"; {number:,} questions {_UNDECIDED[name]}" for name, number in undecided.items())
        sentences.append(
            f"Voted: the chosen responses of {pairs.get('vote', 0):,} pairs are a majority's, and no gold confirms "
            f"them ({tokens.get('vote', 0):,} tokens of responses that voted){without}."
        )
    return sentences
