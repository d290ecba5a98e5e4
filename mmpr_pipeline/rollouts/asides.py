"""Rollouts that are sampled beside a question's own: without its image, or after the first steps of a response.

They are stored with the others, with `parent` set, so that nothing takes them for answers to the question. The label
of their prompt ends in what they are for, as in `cot-final-en@1+blind@1`.
"""

from __future__ import annotations

BLIND = "blind@1"
"""Answers to the question without its image: the blind filter."""

STEP = "step@1"
"""Completions of a response's first steps: process supervision."""

NO_PARENT = -1
"""`parent` of a rollout that continues no response."""

_NAMES = {BLIND, STEP}


def aside_label(label: str, aside: str) -> str:
    """The label of a prompt, for rollouts of this purpose."""
    return f"{label}+{aside}"


def aside_of(label: str) -> str | None:
    """What a rollout with this prompt label is for: BLIND or STEP; None for answers to the question."""
    aside = label.rpartition("+")[2]
    return aside if aside in _NAMES and "+" in label else None


def asked_label(label: str) -> str:
    """The label of the question's own prompt."""
    return label.rpartition("+")[0] if aside_of(label) else label


def counted_as(label: str) -> str | None:
    """The name under which counts list such rollouts: `blind` or `step`; None for answers to the question."""
    aside = aside_of(label)
    return aside.partition("@")[0] if aside else None
