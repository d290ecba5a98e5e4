"""The table as a picture: for each benchmark the models' numbers with their intervals. Plain SVG, light and dark."""

from __future__ import annotations

import math
from html import escape

from mmpr_pipeline.evaluation.results import BenchmarksEvaluation, IntervalFields, MetricFields

ROW, LEFT, WIDTH, TOP = 26, 220, 460, 34
COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be123c", "#4d7c0f", "#6b21a8")


def draw_intervals(results: BenchmarksEvaluation) -> str:
    """A dot and its interval for each benchmark, mode and model, on 0 to 100; a judge's points on their own scale."""
    models = results["models"]
    rows = [
        (benchmark["title"], mode, benchmark["metrics"][0], found)
        for benchmark in results["benchmarks"].values()
        for mode, found in benchmark["modes"].items()
    ]
    height = TOP + ROW * len(rows) + 30 + 18 * len(models)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<style>text{fill:#1f2937}.g{stroke:#9ca3af;stroke-opacity:.4}"
        "@media(prefers-color-scheme:dark){text{fill:#e5e7eb}}</style>",
    ]
    for mark in range(0, 101, 25):
        x = LEFT + WIDTH * mark / 100
        parts.append(f'<line class="g" x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{TOP + ROW * len(rows)}"/>')
        parts.append(f'<text x="{x}" y="{TOP - 14}" text-anchor="middle">{mark}</text>')
    for at, (title, mode, metric, found) in enumerate(rows):
        y = TOP + ROW * at + ROW / 2
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(title)}, {escape(mode)}</text>')
        for number, model in enumerate(models):
            if model in found["models"]:
                shift = (number - (len(models) - 1) / 2) * 7
                parts.append(
                    _dot(found["models"][model]["measures"][metric["name"]], metric, y + shift, COLOURS[number % 6])
                )
    for number, model in enumerate(models):
        y = TOP + ROW * len(rows) + 22 + 18 * number
        parts.append(f'<circle cx="{LEFT}" cy="{y - 4}" r="4" fill="{COLOURS[number % 6]}"/>')
        parts.append(f'<text x="{LEFT + 10}" y="{y}">{escape(model)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _dot(measure: IntervalFields, metric: MetricFields, y: float, colour: str) -> str:
    if math.isnan(measure["value"]):
        return ""
    over = 100 / 6 if metric["unit"] == "points" and metric["name"] == "score" else 1
    values = (measure["value"], measure["low"], measure["high"])
    x, low, high = (LEFT + WIDTH * min(110, max(-5, over * value)) / 100 for value in values)
    shown = f"{measure['value']:.1f}"
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="2"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{shown}</title></circle>'
    )
