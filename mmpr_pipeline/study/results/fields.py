"""What table.json of a study holds."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from mmpr_pipeline.evaluation.results import ComparisonFields, MeanFields

Way = Literal["cot", "cot_sampled", "direct", "hallucination", "missed"]
"""What is measured of a row."""


class SourceScore(TypedDict):
    """A mean, and its difference from the base where the row is not the base."""

    mean: MeanFields
    gain: NotRequired[ComparisonFields]


WayScores = dict[str, SourceScore | list[float]]
"""A `SourceScore` for each source and for `all`; `of_seeds` has the mean of each seed."""


class StudyRow(TypedDict):
    """A row of a table. Pairs and what they cost are summed over the seeds; the base has none."""

    label: str
    seeds: int
    pairs: NotRequired[int]
    rollouts: NotRequired[int]
    generated_tokens: NotRequired[int]
    tokens_a_pair: NotRequired[float]
    cot: NotRequired[WayScores]
    cot_sampled: NotRequired[WayScores]
    direct: NotRequired[WayScores]
    hallucination: NotRequired[WayScores]
    missed: NotRequired[WayScores]


class Claim(ComparisonFields):
    """Something that the study set out to show, and whether its interval shows it."""

    name: str
    what: str
    held: bool


class StudyChoices(TypedDict):
    """Of the study's settings those that tables and curves look at; all of them are there."""

    seeds: list[int]
    size: int
    losses: list[str]


class StepsDone(TypedDict):
    """How far the study is."""

    done: int
    of: int


class StudyResults(TypedDict):
    """table.json."""

    config: StudyChoices
    steps: StepsDone
    tables: dict[str, list[StudyRow]]
    headline: list[Claim]


def source_score(scores: WayScores | None, source: str) -> SourceScore | None:
    """The score of a source, or of `all`; None where it was not measured."""
    found = scores.get(source) if scores else None
    return None if isinstance(found, list) else found


def means_of_seeds(scores: WayScores | None) -> list[float]:
    """The mean of each seed; none where it was not measured."""
    found = scores.get("of_seeds") if scores else None
    return found if isinstance(found, list) else []
