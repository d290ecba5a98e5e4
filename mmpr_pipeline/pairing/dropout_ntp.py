"""DropNTP pairs: half of a good response, continued without the image, is rejected against the whole (paper, 3.2).

The continuation cannot see the image, so it makes up what is in it: the pair teaches to look. Used for questions
without an answer, where every finished response counts as good, and for those whose rollouts are all correct.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmpr_pipeline.pairing.pairs import seeded_order
from mmpr_pipeline.records import CheckedRollout, Question

SHORTEST_PARENT_CHARS = 16
"""A response shorter than this has no half worth keeping."""

_THINK_END = "</think>"
_LOOP_WORDS = 24
_LOOP_SHARE = 0.5


def parents_to_cut(
    question: Question, rollouts: Sequence[CheckedRollout], *, most: int, seed: int
) -> list[CheckedRollout]:
    """The responses to cut, in seeded order: finished, long enough, and correct where there is an answer."""
    usable = [
        r
        for r in rollouts
        if r.parent is None
        and r.finish_reason != "length"
        and len(r.text.strip()) >= SHORTEST_PARENT_CHARS
        and (r.outcome == "correct" or (question.kind == "none" and r.outcome is None))
        and not is_repetitive(r.text)
    ]
    return seeded_order(usable, seed, "parent")[:most]


def degenerate(parent: CheckedRollout, continuation: CheckedRollout) -> str | None:
    """Why a continuation cannot be rejected against its parent, as a short name; None where it can."""
    made = continuation.text[continuation.prefix_chars :].strip()
    if not made:
        return "empty_continuation"
    if continuation.text.strip() == parent.text.strip():
        return "same_as_chosen"
    if continuation.finish_reason == "length":
        return "unfinished_continuation"
    if continuation.outcome == "correct":
        return "still_correct"
    if _THINK_END in parent.text and _THINK_END not in continuation.text:
        return "unfinished_thinking"
    if is_repetitive(made):
        return "repetitive_continuation"
    return None


def is_repetitive(text: str) -> bool:
    """Whether the text is stuck in a loop: over half of its word trigrams are ones that occur over three times.

    Text without spaces (Chinese) is taken character by character.
    """
    words = text.split()
    if len(words) < _LOOP_WORDS:
        words = list(text) if len(text) >= 4 * _LOOP_WORDS and len(words) < len(text) / 20 else words
    if len(words) < _LOOP_WORDS:
        return False
    trigrams = Counter(zip(words, words[1:], words[2:], strict=False))
    repeated = sum(n for n in trigrams.values() if n > 3)
    return repeated > _LOOP_SHARE * (len(words) - 2)
