"""POPE's numbers: `yes` is the positive class (Li et al. 2023). Neither yes nor no is a wrong answer and no `yes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmpr_pipeline.evaluation.metrics.metric import Metric, ScoredItem, divided


def _terms(marks: Sequence[ScoredItem]) -> np.ndarray:
    """True positives, false positives, false negatives, all; of the mean response of each item."""
    made = np.zeros((len(marks), 4))
    for at, mark in enumerate(marks):
        for each in mark.graded:
            yes, truth = each.parts.get("yes", 0.0), each.parts.get("truth", 0.0)
            made[at] += np.array([yes * truth, yes * (1 - truth), (1 - yes) * truth, 1]) / len(mark.graded)
        if not mark.graded:
            made[at, 3] = 1
    return made


def _metric(name: str, value: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Metric:
    return Metric(name, _terms, lambda sums: 100 * value(*(sums[..., i] for i in range(4))))


def f1() -> Metric:
    """F1 of `yes`, %: 2 TP / (2 TP + FP + FN)."""
    return _metric("f1", lambda tp, fp, fn, _: np.nan_to_num(divided(2 * tp, 2 * tp + fp + fn)))


def precision() -> Metric:
    """Precision of `yes`, %."""
    return _metric("precision", lambda tp, fp, fn, _: np.nan_to_num(divided(tp, tp + fp)))


def recall() -> Metric:
    """Recall of `yes`, %."""
    return _metric("recall", lambda tp, fp, fn, _: np.nan_to_num(divided(tp, tp + fn)))


def yes_share() -> Metric:
    """Share of `yes` among the answers, %: the answers of the model, not the truth."""
    made = _metric("yes_share", lambda tp, fp, fn, n: divided(tp + fp, n))
    return Metric(made.name, made.terms, made.value, better="neither")
