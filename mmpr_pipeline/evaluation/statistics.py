"""Bootstrap intervals: of accuracies over questions, of any metric over clusters of items, and of the differences of
two models on the same ones.

Questions are what was sampled from the world, so questions are what is resampled; several responses to one question
are one observation, their mean. Items that share an image, or are rotations of one question, are drawn together: they
are not independent observations. Both models of a difference are drawn together as well. Pure; the same seed gives the
same interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from mmpr_pipeline.evaluation.metrics.metric import Metric, ScoredItem
from mmpr_pipeline.evaluation.results import ComparisonFields, DifferenceFields, IntervalFields, MeanFields

LEVEL = 0.95


@dataclass(frozen=True)
class BootstrapMean:
    """A mean over questions with its 95% bootstrap percentile interval."""

    questions: int
    mean: float
    low: float
    high: float

    def plain(self) -> MeanFields:
        """As JSON data."""
        return {"questions": self.questions, "mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Comparison:
    """Two models on the same questions: accuracy of the model minus that of the other one, with its interval.

    `better` and `worse` count questions on which the model's score is higher or lower; `p` is the two-sided
    exact sign test over these (McNemar's, for single responses).
    """

    difference: BootstrapMean
    better: int
    worse: int
    p: float

    def plain(self) -> ComparisonFields:
        """As JSON data."""
        return {"difference": self.difference.plain(), "better": self.better, "worse": self.worse, "p": self.p}


def bootstrap_mean(scores: Sequence[float], resamples: int = 10_000, seed: int = 0) -> BootstrapMean:
    """Mean of one score a question, resampled `resamples` times; the same seed gives the same interval."""
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        return BootstrapMean(0, float("nan"), float("nan"), float("nan"))
    means = bootstrap_means(values, resamples, seed)
    low, high = (float(np.quantile(means, share)) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return BootstrapMean(len(values), float(values.mean()), low, high)


def bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of resampled values, (resamples,); in slices, so that memory stays bounded for many questions."""
    rng = np.random.default_rng(seed)
    rows = max(1, 4_000_000 // len(values))
    parts = []
    for start in range(0, resamples, rows):
        picked = rng.integers(0, len(values), (min(rows, resamples - start), len(values)))
        parts.append(values[picked].mean(1))
    found: np.ndarray = np.concatenate(parts)
    return found


def compare_scores(
    model: Sequence[float], other: Sequence[float], resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """The model minus the other one; scores stand in the same order of questions."""
    differences = np.asarray(model, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return Comparison(bootstrap_mean(differences.tolist(), resamples, seed), better, worse, sign_test(better, worse))


def sign_test(better: int, worse: int) -> float:
    """Two-sided exact probability of a split at least as uneven if both were equally likely."""
    total, most = better + worse, max(better, worse)
    term, tail = comb(total, most), 0
    for k in range(most, total + 1):
        tail += term
        term = term * (total - k) // (k + 1)
    return float(min(1.0, 2 * tail / 2**total))


_CELLS = 4_000_000
"""Drawn numbers at once: 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A number with its 95% interval, and the numbers of items and clusters that it is over."""

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
