"""Means of means: over categories, and over the rotations of a set of choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmpr_pipeline.evaluation.metrics.metric import Metric, ScoredItem, divided


def mean_over(name: str, group: Callable[[ScoredItem], str], of: Metric) -> Metric:
    """The mean, over the groups that there are, of a metric of the form a / b.

    Sums are (a, b) for each group in turn; a group that a bootstrap did not draw is left out of that mean.
    """

    def terms(marks: Sequence[ScoredItem]) -> np.ndarray:
        inner = of.terms(marks)
        names = sorted({group(mark) for mark in marks})
        made = np.zeros((len(marks), 2 * len(names)))
        for at, mark in enumerate(marks):
            place = 2 * names.index(group(mark))
            made[at, place : place + 2] = inner[at]
        return made

    def value(sums: np.ndarray) -> np.ndarray:
        ratios: np.ndarray = 100 * divided(sums[..., 0::2], sums[..., 1::2])
        counted = ~np.isnan(ratios)
        return divided(np.where(counted, ratios, 0).sum(-1), counted.sum(-1).astype(float))

    return Metric(name, terms, value, of.unit, of.better)


def category_mean(breakdown: str, of: Metric) -> Metric:
    """The mean over the groups of a breakdown, each counted once: XLRS-Bench's macro score, CRPE's overall score."""
    return mean_over(f"mean_{breakdown}", lambda mark: (mark.groups.get(breakdown) or ("",))[0], of)


def cycle_mean(of: Metric) -> Metric:
    """The mean over the rotations of the choices (HR-Bench, Wang et al. 2024): each rotation's accuracy, averaged.

    `Mark.cycle` names the rotation, which all rows of one rotation share.
    """
    return mean_over("cycle_mean", lambda mark: mark.cycle, of)
