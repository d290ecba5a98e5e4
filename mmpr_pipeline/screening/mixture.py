"""Mixtures: how many questions of a source are taken, which ones, and how often. Pure.

Which ones follows from their content alone: those with the smallest hashes. So the order of rows, the number of shards
and the other sources do not matter, and a greater weight or cap keeps every question of a smaller one.
"""

from __future__ import annotations

from typing import TypedDict, cast

import numpy as np

from mmpr_pipeline.core.records import Question, content_id
from mmpr_pipeline.screening.settings import Share

ALL = Share()


def taken(questions: int, share: Share) -> int:
    """How many of a source's questions a share takes: the weight's part, rounded half up, at most the cap."""
    part = int(questions * share.weight + 0.5)
    return min(part, questions if share.cap is None else share.cap)


def share_mask(keys: np.ndarray, share: Share) -> np.ndarray:
    """Which questions are taken: bool of shape (n,). `keys`: uint64 of shape (n, 2), the hash of each one's content."""
    chosen: np.ndarray = np.zeros(len(keys), bool)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    chosen[order[: taken(len(keys), share)]] = True
    return chosen


def repetitions(question: Question, times: int) -> list[Question]:
    """The question as often as it is asked; from the second time on with an id, and so with seeds, of its own."""
    ids = [content_id(question.question_id, f"repeat {number}") for number in range(1, times)]
    return [question, *(question.model_copy(update={"question_id": own}) for own in ids)]


class ShareFields(TypedDict, total=False):
    """What of a share is not the default."""

    weight: float
    cap: int
    repeat: int


def share_fields(share: Share) -> ShareFields:
    """What of a share is not the default, as plain JSON data."""
    return cast(ShareFields, share.model_dump(mode="json", exclude_defaults=True))
