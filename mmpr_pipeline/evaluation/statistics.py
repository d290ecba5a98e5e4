"""Accuracies with bootstrap intervals over questions, and the paired comparison of two models on the same questions.

Questions are what was sampled from the world, so questions are what is resampled; several responses to one question
are one observation, their mean. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from mmpr_pipeline.evaluation.results import ComparisonFields, MeanFields

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
