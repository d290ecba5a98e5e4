"""What a metric is: terms that add up over items, and the number that their sums give.

Sums are all that an interval needs: a bootstrap draws clusters of items, adds up their terms, and takes the number of
the sums. So F1, a mean of categories or a ratio of means has an interval as any accuracy has, and two models are drawn
together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mmpr_pipeline.evaluation.scoring.graded import Graded


@dataclass(frozen=True)
class ScoredItem:
    """One item with its scored responses; none where it could not be asked, or the judge gave no score."""

    id: str
    graded: tuple[Graded, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cluster: str = ""
    cycle: str = ""
    reason: str | None = None
    """Why there is no score."""

    def mean(self, part: str | None = None) -> float:
        """Mean over the responses of the score, or of one of its parts; 0 without any."""
        values = [each.score if part is None else each.parts.get(part, 0.0) for each in self.graded]
        return sum(values) / len(values) if values else 0.0


Terms = Callable[[Sequence[ScoredItem]], np.ndarray]
"""The terms of each mark, (N, K)."""


@dataclass(frozen=True)
class Metric:
    """A number over marks. `value` takes sums of terms, (..., K), to numbers (...); it gives NaN of nothing."""

    name: str
    terms: Terms
    value: Callable[[np.ndarray], np.ndarray]
    unit: str = "%"
    better: Literal["higher", "lower", "neither"] = "higher"

    def of(self, marks: Sequence[ScoredItem]) -> float:
        """The metric of these marks."""
        return float(self.value(self.terms(marks).sum(0))) if marks else float("nan")


def ratio(over: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """The value of sums (a, b): `over` times a / b."""

    def value(sums: np.ndarray) -> np.ndarray:
        return over * divided(sums[..., 0], sums[..., 1])

    return value


def divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.asarray(b) != 0)


def metric_columns(marks: Sequence[ScoredItem], *values: Callable[[ScoredItem], float]) -> np.ndarray:
    """One column a function, (N, K)."""
    return np.array([[value(mark) for value in values] for mark in marks], np.float64).reshape(-1, len(values))
