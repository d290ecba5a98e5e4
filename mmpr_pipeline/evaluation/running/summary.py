"""From marks to numbers: each metric with its interval, by breakdown, and the model minus the other one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark
from mmpr_pipeline.evaluation.metrics.metric import Metric, ScoredItem
from mmpr_pipeline.evaluation.metrics.rates import metric_of
from mmpr_pipeline.evaluation.results import BenchmarkResults, ModelMeasures, ModeResults
from mmpr_pipeline.evaluation.running.kept import StoredScores
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.evaluation.statistics import metric_difference, metric_interval

GROUP_RESAMPLES = 1000
"""Bootstrap resamples of a breakdown's groups, of which there may be a hundred."""


def metrics_of(benchmark: Benchmark, config: EvalConfig) -> list[Metric]:
    """The benchmark's metrics; with several samples of a question, those that several samples allow as well."""
    names = [name for name in benchmark.metrics if not name.startswith("pass@") or config.samples > 1]
    if config.samples > 1 and benchmark.judge is None:
        names += [name for name in (f"pass@{config.samples}", "majority") if name not in names]
    return [metric_of(name) for name in names]


def benchmark_results(
    benchmark: Benchmark, scored: Sequence[Sequence[StoredScores]], config: EvalConfig
) -> BenchmarkResults:
    """The results of one benchmark: `scored` has for each mode one entry a model, the model before the other."""
    metrics = metrics_of(benchmark, config)
    return {
        "title": benchmark.title,
        "groups": list(benchmark.groups),
        "metrics": [{"name": m.name, "unit": m.unit, "better": m.better} for m in metrics],
        "definition": benchmark.definition,
        "prompt_of": benchmark.prompt_of,
        "official_judge": benchmark.official_judge,
        "notes": list(benchmark.notes),
        "published": [
            {"model": each.model, "value": each.value, "mode": each.mode, "source": each.source}
            for each in benchmark.published
        ],
        "rows_expected": benchmark.rows_expected,
        "modes": {each[0].mode: _mode(metrics, each, config) for each in scored},
    }


def _mode(metrics: Sequence[Metric], scored: Sequence[StoredScores], config: EvalConfig) -> ModeResults:
    found: ModeResults = {"models": {each.model: _model(metrics, each, config) for each in scored}}
    if len(scored) > 1:
        found["difference"] = {
            metric.name: metric_difference(
                scored[0].marks, scored[1].marks, metric, config.resamples, config.seed
            ).plain()
            for metric in metrics
        }
    return found


def _model(metrics: Sequence[Metric], scored: StoredScores, config: EvalConfig) -> ModelMeasures:
    marks = scored.marks
    return {
        "measures": {m.name: metric_interval(marks, m, config.resamples, config.seed).plain() for m in metrics},
        "by": {
            breakdown: {
                group: metric_interval(within, metrics[0], GROUP_RESAMPLES, config.seed).plain()
                for group, within in _grouped(marks, breakdown).items()
            }
            for breakdown in dict.fromkeys(name for mark in marks for name in mark.groups)
        },
        "items": len(marks),
        "not_scored": dict(Counter(mark.reason for mark in marks if mark.reason)),
        "unread_verdicts": sum(each.parts.get("unread", 0.0) > 0 for mark in marks for each in mark.graded),
        "orders_differ": sum(each.parts.get("orders_differ", 0.0) > 0 for mark in marks for each in mark.graded),
        "rules": dict(Counter(each.rule for mark in marks for each in mark.graded).most_common(12)),
        "unreadable": scored.unreadable,
        "left_out": scored.left_out,
        "seen": scored.seen,
        "judge": scored.judge,
        "tokens": scored.tokens,
        "seconds": scored.seconds,
    }


def _grouped(marks: Sequence[ScoredItem], breakdown: str) -> dict[str, list[ScoredItem]]:
    found: dict[str, list[ScoredItem]] = {}
    for mark in marks:
        for group in mark.groups.get(breakdown, ()):
            found.setdefault(group, []).append(mark)
    return {group: found[group] for group in sorted(found)}
