"""What scoring says of one response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem


@dataclass(frozen=True)
class Graded:
    """One response scored. `score` is 1 for right and 0 for wrong, or what a judge gives on its own scale."""

    score: float
    said: str | None = None
    """The answer that was read in the response; None where none was found."""
    rule: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Further numbers that a metric adds up, by name."""


Score = Callable[[BenchmarkItem, str], Graded]
"""Scores one response to one item; pure."""
