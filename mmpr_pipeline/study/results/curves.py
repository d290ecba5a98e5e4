"""The pictures of a study as SVG: what each training gained, what more pairs bring, and how the losses' rewards and
likelihoods go in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from mmpr_pipeline.core.charts import chart_svg
from mmpr_pipeline.study.results.table import WAYS, StudyResults, Way, means_of_seeds, source_score
from mmpr_pipeline.training.objective.loss import needs_reference, recipe
from mmpr_pipeline.training.run.run_folder import METRICS, read_lines

POINTS = 60
"""Points of a training curve; each is the mean of the steps around it."""
_PLAIN = {
    "background": "white",
    "width": 460,
    "height": 260,
    "config": {
        "font": "sans-serif",
        "axis": {"labelColor": "#444", "titleColor": "#444", "gridColor": "#e6e6e6", "domainColor": "#bbb"},
        "legend": {"labelColor": "#222", "orient": "top", "title": None},
        "view": {"stroke": None},
    },
}
_TRAINING = {"reward/margin": "reward margin", "nll": "nats a token of the chosen", "reward/accuracy": "chosen ahead"}


class GainPoint(TypedDict):
    """What a row gained over the base, in points."""

    row: str
    way: Way
    mean: float
    low: float
    high: float
    seeds: list[float]


class PairPoint(TypedDict):
    """Accuracy in % of a model, and the number of pairs that it was trained on."""

    pairs: int
    way: str
    mean: float
    low: float
    high: float


class TrainingPoint(TypedDict):
    """A metric at a share of the training."""

    loss: str
    done: float
    value: float


def draw_curves(results: StudyResults, root: Path) -> dict[str, str]:
    """SVG texts by file name; what was not studied has no curve. Rewards are those of losses that have a reference."""
    drawn = {}
    if gains := gain_points(results):
        drawn["gains.svg"] = chart_svg({**_PLAIN, **_gains_chart(gains)})
    if points := pair_points(results):
        drawn["curve-pairs.svg"] = chart_svg({**_PLAIN, **_pairs_chart(points)})
    config = results["config"]
    seed, size = config["seeds"][0], config["size"]  # the first seed's runs on the same pairs
    runs = {
        loss: read_lines(root / "steps" / f"s{seed}/train-{loss}-{size}x" / "run" / METRICS)
        for loss in config["losses"]
    }
    for metric, title in _TRAINING.items():
        shown = {loss: lines for loss, lines in runs.items() if metric == "nll" or needs_reference(recipe(loss))}
        values = [v for loss, lines in shown.items() for v in training_points(loss, lines, metric)]
        if values:
            drawn[f"curve-{metric.replace('/', '-')}.svg"] = chart_svg({**_PLAIN, **_training_chart(values, title)})
    return drawn


def gain_points(results: StudyResults) -> list[GainPoint]:
    """For each row and way of asking the difference from the base in points, with its interval and each seed's own."""
    base = results["tables"]["losses"][0]
    points: list[GainPoint] = []
    for table, rows in results["tables"].items():
        for row in rows:
            for way in WAYS:
                score, start = source_score(row.get(way), "all"), source_score(base.get(way), "all")
                if score is None or start is None or "gain" not in score:
                    continue
                gain = score["gain"]["difference"]
                points.append(
                    {
                        "row": f"{table}: {row['label']}",
                        "way": way,
                        "mean": 100 * gain["mean"],
                        "low": 100 * gain["low"],
                        "high": 100 * gain["high"],
                        "seeds": [100 * (mean - start["mean"]["mean"]) for mean in means_of_seeds(row.get(way))],
                    }
                )
    return points


def pair_points(results: StudyResults) -> list[PairPoint]:
    """Accuracy with its interval against pairs of a seed, for the ways of asking; the base stands at 0 pairs."""
    rows = results["tables"].get("pairs", [])
    if not rows:
        return []
    base = results["tables"]["losses"][0]
    points: list[PairPoint] = []
    names: dict[Way, str] = {"cot": "CoT", "cot_sampled": "CoT, T=1", "direct": "direct"}
    for row in [base, *rows]:
        for way, name in names.items():
            if score := source_score(row.get(way), "all"):
                mean = score["mean"]
                points.append(
                    {
                        "pairs": row["pairs"] // row["seeds"] if "pairs" in row else 0,
                        "way": name,
                        "mean": 100 * mean["mean"],
                        "low": 100 * mean["low"],
                        "high": 100 * mean["high"],
                    }
                )
    return points


def training_points(loss: str, lines: Sequence[Mapping[str, float]], metric: str) -> Iterable[TrainingPoint]:
    """A metric of a run over the share of its steps that is done."""
    found = [(line["step"] / max(1, line["steps"]), line[metric]) for line in lines if metric in line]
    size = -(-len(found) // POINTS) if found else 1
    for start in range(0, len(found), size):
        group = found[start : start + size]
        yield {
            "loss": loss,
            "done": sum(x for x, _ in group) / len(group),
            "value": sum(y for _, y in group) / len(group),
        }


def _gains_chart(points: list[GainPoint]) -> dict[str, object]:
    """A column for each way of asking, in which every row has its interval, its mean and a small mark for each seed."""
    rows = list(dict.fromkeys(point["row"] for point in points))
    y = {"field": "row", "type": "nominal", "title": None, "sort": rows}
    columns: list[dict[str, object]] = []
    for way in dict.fromkeys(point["way"] for point in points):
        axis = None if columns else {"labelLimit": 220}
        shown = [point for point in points if point["way"] == way]
        column = {"title": WAYS[way], "width": 170, "height": {"step": 17}, "data": {"values": shown}}
        gains_layers_y = {**y, "axis": axis}
        x = {"type": "quantitative", "title": "points over the base", "axis": {"tickCount": 5}}
        columns.append(
            {
                **column,
                "layer": (
                    [
                        {"mark": {"type": "rule", "color": "#999"}, "encoding": {"x": {"datum": 0}}},
                        {
                            "mark": {"type": "rule", "strokeWidth": 2, "color": "#4c78a8"},
                            "encoding": {"y": gains_layers_y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
                        },
                        {
                            "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1, "color": "#4c78a8"},
                            "encoding": {"y": gains_layers_y, "x": {**x, "field": "mean"}},
                        },
                        {
                            "transform": [{"flatten": ["seeds"]}],
                            "mark": {
                                "type": "point",
                                "shape": "diamond",
                                "size": 22,
                                "color": "#f58518",
                                "opacity": 0.9,
                            },
                            "encoding": {"y": gains_layers_y, "x": {**x, "field": "seeds"}},
                        },
                    ]
                ),
            }
        )
    return {"hconcat": columns, "spacing": 12, "autosize": "pad", "width": None, "height": None}


def _pairs_chart(points: list[PairPoint]) -> dict[str, object]:
    x = {"field": "pairs", "type": "quantitative", "title": "pairs"}
    colour = {"field": "way", "type": "nominal"}
    y = {"field": "mean", "type": "quantitative", "title": "accuracy, %", "scale": {"zero": False}}
    low, high = {**y, "field": "low"}, {"field": "high"}
    return {
        "data": {"values": points},
        "layer": [
            {"mark": {"type": "line", "point": True}, "encoding": {"x": x, "y": y, "color": colour}},
            {"mark": "rule", "encoding": {"x": x, "y": low, "y2": high, "color": colour}},
        ],
    }


def _training_chart(values: list[TrainingPoint], title: str) -> dict[str, object]:
    return {
        "data": {"values": values},
        "mark": {"type": "line", "strokeWidth": 1.3},
        "encoding": {
            "x": {"field": "done", "type": "quantitative", "title": "share of the training", "axis": {"format": "%"}},
            "y": {"field": "value", "type": "quantitative", "title": title, "scale": {"zero": False}},
            "color": {"field": "loss", "type": "nominal"},
        },
    }
