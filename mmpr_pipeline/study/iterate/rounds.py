"""What rounds.json holds."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from mmpr_pipeline.evaluation.results import MeanFields


class RoundResults(TypedDict):
    """A round's model, its accuracy on the held-out questions, and, from round 1 on, what it was trained on."""

    round: int
    model: str
    pairs: NotRequired[dict[str, int]]
    tokens: NotRequired[int]
    questions: NotRequired[int]
    steps: NotRequired[int]
    accuracy: MeanFields
    by_source: dict[str, MeanFields]


class BestRound(TypedDict):
    """The round of the highest accuracy."""

    round: int
    model: str


class IterateResults(TypedDict):
    """rounds.json. `stopped` says why there is no further round; empty while there may be one."""

    mmpr_version: str
    config: dict[str, object]
    rounds: list[RoundResults]
    best: BestRound
    stopped: str
