"""Bootstrap intervals of any metric over clusters of items, of one model or of the difference of two.

Items that share an image, or are rotations of one question, are drawn together: they are no independent observations.
Both models of a difference are drawn together as well. Pure; the same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmpr_pipeline.evaluation.metrics.metric import Metric, ScoredItem
from mmpr_pipeline.evaluation.results import DifferenceFields, IntervalFields
from mmpr_pipeline.evaluation.statistics import LEVEL, sign_test

_CELLS = 4_000_000
"""Drawn numbers at once: 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A number with its 95% interval, over so many items in so many clusters."""

    value: float
    low: float
    high: float
    items: int
    clusters: int

    def plain(self) -> IntervalFields:
        """As JSON data."""
        return {
            "value": self.value, "low": self.low, "high": self.high, "items": self.items, "clusters": self.clusters
        }  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """The model minus the other one. `better` and `worse` count items on which the model's score is higher or lower,
    `p` is the two-sided exact sign test over clusters."""

    value: float
    low: float
    high: float
    better: int
    worse: int
    p: float

    def plain(self) -> DifferenceFields:
        """As JSON data."""
        return {
            "value": self.value, "low": self.low, "high": self.high, "better": self.better, "worse": self.worse,
            "p": self.p,
        }  # fmt: skip


def metric_interval(marks: Sequence[ScoredItem], metric: Metric, resamples: int, seed: int) -> Interval:
    """The metric of these marks; NaN of none."""
    if not marks:
        return Interval(float("nan"), float("nan"), float("nan"), 0, 0)
    sums = _by_cluster(marks, metric)
    low, high = _bounds(np.concatenate([metric.value(drawn @ sums) for drawn in _draws(len(sums), resamples, seed)]))
    return Interval(metric.of(marks), low, high, len(marks), len(sums))


def metric_difference(
    model: Sequence[ScoredItem], other: Sequence[ScoredItem], metric: Metric, resamples: int, seed: int
) -> Difference:
    """The model minus the other; marks stand in the same order of items. Raises ValueError where they do not."""
    if [mark.id for mark in model] != [mark.id for mark in other]:
        raise ValueError("two models can be compared on the same items only")
    nan = float("nan")
    if not model:
        return Difference(nan, nan, nan, 0, 0, 1.0)
    ours, theirs = _by_cluster(model, metric), _by_cluster(other, metric)
    drawn = _draws(len(ours), resamples, seed)
    low, high = _bounds(np.concatenate([metric.value(each @ ours) - metric.value(each @ theirs) for each in drawn]))
    gains = np.array([one.mean() - two.mean() for one, two in zip(model, other, strict=True)])
    place = _places(model)
    by_cluster = np.bincount(place, weights=gains, minlength=len(ours))
    p = sign_test(int((by_cluster > 1e-12).sum()), int((by_cluster < -1e-12).sum()))
    value = metric.of(model) - metric.of(other)
    return Difference(value, low, high, int((gains > 0).sum()), int((gains < 0).sum()), p)


def _by_cluster(marks: Sequence[ScoredItem], metric: Metric) -> np.ndarray:
    """The sums of terms of each cluster, (C, K)."""
    terms, place = metric.terms(marks), _places(marks)
    made: np.ndarray = np.zeros((int(place.max()) + 1, terms.shape[1]))
    np.add.at(made, place, terms)
    return made


def _places(marks: Sequence[ScoredItem]) -> np.ndarray:
    numbers: dict[str, int] = {}
    found: np.ndarray = np.array([numbers.setdefault(mark.cluster or mark.id, len(numbers)) for mark in marks])
    return found


def _draws(clusters: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each cluster is drawn, (resamples, C) in slices."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // clusters)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picked = rng.integers(0, clusters, (count, clusters)) + clusters * np.arange(count)[:, None]
        yield np.bincount(picked.ravel(), minlength=count * clusters).reshape(count, clusters).astype(np.float64)


def _bounds(values: np.ndarray) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    return float(np.quantile(values, (1 - LEVEL) / 2)), float(np.quantile(values, (1 + LEVEL) / 2))
