"""Metrics by the names that declarations use; `NAME@K` and `NAME:BREAKDOWN` take a number or a breakdown."""

from __future__ import annotations

from collections.abc import Callable

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.evaluation.metrics import means, rates, yes_no
from mmpr_pipeline.evaluation.metrics.metric import Metric

_PLAIN: dict[str, Callable[[], Metric]] = {
    "accuracy": rates.accuracy,
    "majority": rates.majority,
    "circular": rates.circular,
    "relative": rates.relative,
    "win_rate": rates.win_rate,
    "reward": rates.reward,
    "score": rates.mean_score,
    "score_percent": lambda: rates.mean_score("%", 100.0),
    "f1": yes_no.f1,
    "precision": yes_no.precision,
    "recall": yes_no.recall,
    "yes_share": yes_no.yes_share,
    "chair_s": lambda: rates.chair_responses(of_all=False),
    "chair_s_all": lambda: rates.chair_responses(of_all=True),
    "chair_i": rates.chair_objects,
    "object_recall": rates.chair_recall,
    "prompts_loose": lambda: rates.part_rate("prompts_loose", "loose"),
    "instructions_strict": lambda: rates.instruction_rate(loose=False),
    "instructions_loose": lambda: rates.instruction_rate(loose=True),
    "cycle_mean": lambda: means.cycle_mean(rates.accuracy()),
}


def metric_of(name: str) -> Metric:
    """The metric of a name. Raises ConfigError."""
    if name in _PLAIN:
        return _PLAIN[name]()
    base, at, number = name.partition("@")
    if at and base == "pass" and number.isdecimal() and int(number):
        return rates.pass_at(int(number))
    base, colon, argument = name.partition(":")
    if colon and base == "below":
        return rates.rate_below(float(argument))
    if colon and base in ("mean", "circular_mean"):
        return means.category_mean(argument, rates.accuracy() if base == "mean" else rates.circular())
    raise ConfigError(
        f"Unknown metric {name!r}.",
        remedy=f"Known: {', '.join(sorted(_PLAIN))}, pass@K, below:NUMBER, mean:BREAKDOWN, circular_mean:BREAKDOWN.",
    )
