"""What an evaluation writes down: the content of results.json, of sources and of benchmarks."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Mode = Literal["cot", "direct"]
"""How a model is asked: by chain of thought, or for the answer only."""


class MeanFields(TypedDict):
    """A `BootstrapMean` as JSON."""

    questions: int
    mean: float
    low: float
    high: float


class ComparisonFields(TypedDict):
    """A `Comparison` as JSON."""

    difference: MeanFields
    better: int
    worse: int
    p: float


class ModelAccuracy(TypedDict):
    """One model on sources: its accuracy on each and on all of them, and what became of its responses."""

    model: str
    accuracy: dict[str, MeanFields]
    outcomes: dict[str, int]
    not_asked: dict[str, int]
    tokens: float


class SourcesEvaluation(TypedDict):
    """An evaluation on sources. Its file has the `labels` of the models as well."""

    mode: Mode
    config: dict[str, object]
    unreadable: dict[str, int]
    models: list[ModelAccuracy]
    left_out: int
    seen: dict[str, dict[str, int]]
    comparison: NotRequired[dict[str, ComparisonFields]]


class IntervalFields(TypedDict):
    """An `Interval` as JSON."""

    value: float
    low: float
    high: float
    items: int
    clusters: int


class DifferenceFields(TypedDict):
    """A `Difference` as JSON."""

    value: float
    low: float
    high: float
    better: int
    worse: int
    p: float


class MetricFields(TypedDict):
    """What a metric is."""

    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]


class PublishedFields(TypedDict):
    """A `PublishedScore` as JSON."""

    model: str
    value: float
    mode: Literal["cot", "direct", "unknown"]
    source: str


class ModelMeasures(TypedDict):
    """One model on one benchmark in one mode: its metrics, the first one by breakdown and group, and what was seen."""

    measures: dict[str, IntervalFields]
    by: dict[str, dict[str, IntervalFields]]
    items: int
    not_scored: dict[str, int]
    unread_verdicts: int
    orders_differ: int
    rules: dict[str, int]
    unreadable: dict[str, int]
    left_out: int
    seen: dict[str, dict[str, int]]
    judge: str | None
    tokens: int
    seconds: float


class ModeResults(TypedDict):
    """One benchmark in one mode, and with two models their difference by metric."""

    models: dict[str, ModelMeasures]
    difference: NotRequired[dict[str, DifferenceFields]]


class BenchmarkResults(TypedDict):
    """One benchmark: what it is, and its results by mode."""

    title: str
    groups: list[str]
    metrics: list[MetricFields]
    definition: str
    prompt_of: str
    official_judge: str | None
    notes: list[str]
    published: list[PublishedFields]
    rows_expected: int | None
    modes: dict[str, ModeResults]


class BenchmarksEvaluation(TypedDict):
    """An evaluation on benchmarks. `intervals` says what the brackets of a table are, where it is not `BRACKETS`."""

    mmpr_version: str
    kind: Literal["benchmarks"]
    models: list[str]
    config: dict[str, object]
    benchmarks: dict[str, BenchmarkResults]
    not_run: dict[str, str]
    intervals: NotRequired[str]
