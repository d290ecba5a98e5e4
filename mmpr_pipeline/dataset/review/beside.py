"""What was sampled beside the questions themselves, in sentences: for the terminal, the report and the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def beside_sentences(counts: Mapping[str, Any]) -> list[str]:
    """How much was sampled without the image or after first steps, for how many tokens, and what it gave."""
    tokens, rollouts = counts.get("beside_tokens", {}), counts["rollouts"]
    told = []
    if "blind" in rollouts:
        dropped = counts["unpaired"].get("solved_without_image", 0)
        told.append(
            f"Blind filter: {rollouts['blind']:,} answers without the image ({tokens.get('blind', 0):,} tokens); "
            f"{dropped:,} questions dropped that are solved so."
        )
    if "step" in rollouts:
        told.append(
            f"Step data: {rollouts['step']:,} completions of first steps ({tokens.get('step', 0):,} tokens); "
            "`mmpr export --to steps` writes their labels."
        )
    if "claim" in rollouts:
        listed = f", {rollouts['claims']:,} lists of them ({tokens.get('claims', 0):,})" if "claims" in rollouts else ""
        told.append(
            f"Feedback: {rollouts['claim']:,} claims of answers were asked about ({tokens.get('claim', 0):,} tokens)"
            f"{listed}; {counts['unpaired'].get('same_scores', 0):,} questions whose answers all score alike."
        )
    if votes := counts["pairs"].get("vote"):
        told.append(f"Voted: the chosen responses of {votes:,} pairs are a majority's, and no gold confirms them.")
    return told
