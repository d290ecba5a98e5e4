"""Rollouts that are sampled beside a question's own: without its image, or after the first steps of a response.

They are stored with the others, with `parent` set, so that nothing takes them for answers to the question. The label
of their prompt ends in what they are for, as in `cot-final-en@1+blind@1`; where several prompts of a question have the
same purpose, in `#` and what tells them apart.
"""

from __future__ import annotations

from mmpr_pipeline.core.records import Rollout

BLIND = "blind@1"
"""Answers to the question without its image: the blind filter."""

STEP = "step@1"
"""Completions of a response's first steps: process supervision."""

CLAIM = "claim@1"
"""How likely a claim of an answer is true, by the model itself: feedback."""

CLAIMS = "claims@1"
"""The claims of an answer, as the model lists them: feedback."""

UNDECIDED_VOTES = ("no_answer_to_vote_on", "no_majority", "unanimous")
"""Why a question whose responses voted has no pair."""

NO_PARENT = -1
"""`parent` of a rollout that continues no response."""

_NAMES = {BLIND, STEP, CLAIM, CLAIMS}


def aside_label(label: str, aside: str, which: str = "") -> str:
    """The label of a prompt, for rollouts of this purpose; `which` tells it from others of the question."""
    return f"{label}+{aside}#{which}" if which else f"{label}+{aside}"


def aside_of(label: str) -> str | None:
    """What a rollout with this prompt label is for, as BLIND; None for answers to the question."""
    aside = label.rpartition("+")[2].partition("#")[0]
    return aside if aside in _NAMES and "+" in label else None


def asked_label(label: str) -> str:
    """The label of the question's own prompt."""
    return label.rpartition("+")[0] if aside_of(label) else label


def counted_as(label: str) -> str | None:
    """The name under which counts list such rollouts, as `blind`; None for answers to the question."""
    aside = aside_of(label)
    return aside.partition("@")[0] if aside else None


def generated_tokens(rollout: Rollout) -> int:
    """Tokens that were generated: of a continuation (DropNTP) without what it keeps, by its share of the characters.

    Of completions of first steps, engines count what they completed.
    """
    if rollout.parent is None or counted_as(rollout.prompt_version):
        return rollout.tokens
    return rollout.tokens - round(rollout.tokens * rollout.prefix_chars / max(len(rollout.text), 1))
