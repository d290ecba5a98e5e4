"""The curves of a run as one picture (SVG), drawn from its `metrics.jsonl`; other runs can be laid over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.run.metrics import METRICS, read_lines

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 380, 220, 56, 30, 34  # px of one panel
COLUMNS = 3
COLOURS = ("#1f5fbf", "#c0392b", "#2e8b57", "#8e5bb5", "#b8860b")
POINTS = 600  # a panel shows at most this many; more are averaged

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One diagram: its title, and metrics by the label that each is shown under."""

    title: str
    curves: dict[str, str]


PANELS = (
    Panel("loss, weighted sum", {"loss": "loss"}),
    Panel("loss by term, unweighted", {}),  # filled from what the run has
    Panel("rewards", {"reward/chosen": "chosen", "reward/rejected": "rejected", "delta": "δ"}),
    Panel("reward margin", {"reward/margin": "margin"}),
    Panel("share of pairs with the chosen ahead", {"reward/accuracy": "accuracy"}),
    Panel("KL to the reference, nats a response", {"kl": "KL"}),
    Panel("gradient norm", {"grad_norm": "norm"}),
    Panel("learning rate", {"lr": "rate"}),
    Panel("speed, tokens a second", {"tokens_per_second": "tokens/s"}),
)


def plot(run: str | Path, out: str | Path | None = None) -> Path:
    """Draw a run's curves to `out` (default RUN/metrics.svg) and return that path.

    Raises ConfigError where the run has no metrics yet.
    """
    folder = Path(run).expanduser().absolute()
    lines = read_lines(folder / METRICS)
    if not lines:
        raise ConfigError(f"{folder} has no metrics.", remedy="Give the --run-dir of a run that made a step.")
    target = Path(out).expanduser().absolute() if out else folder / "metrics.svg"
    open_store(target.parent).write(target.name, metrics_svg(lines, folder.name).encode())
    return target


def metrics_svg(lines: Sequence[dict[str, Any]], title: str) -> str:
    """The SVG of metrics, one panel after the other. Pure."""
    terms = {name: name.partition("/")[2] for name in lines[0] if name.startswith("loss/")}
    panels = [Panel(p.title, p.curves or terms) for p in PANELS]
    rows = math.ceil(len(panels) / COLUMNS)
    parts = [_text(16, 22, f"{title}: {len(lines)} steps", "#222", "start", 15)]
    for number, panel in enumerate(panels):
        x, y = (number % COLUMNS) * WIDTH, 34 + (number // COLUMNS) * HEIGHT
        parts.append(f'<g transform="translate({x},{y})">{_panel(panel, lines)}</g>')
    width, height = COLUMNS * WIDTH + 16, rows * HEIGHT + 44
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: Panel, lines: Sequence[dict[str, Any]]) -> str:
    curves = {label: thinned(points_of(lines, name)) for name, label in panel.curves.items()}
    values = [y for points in curves.values() for _, y in points]
    parts = [_text(LEFT, 20, panel.title, "#222", "start", 12)]
    if not values:
        return parts[0] + _text(WIDTH // 2, HEIGHT // 2, "nothing to show", "#999", "middle", 11)
    low, high = _span(values)
    first, last = lines[0]["step"], max(lines[-1]["step"], lines[0]["step"] + 1)

    def place(step: float, value: float) -> tuple[float, float]:
        across = (step - first) / (last - first)
        up = (value - low) / (high - low)
        return LEFT + (WIDTH - LEFT - 16) * across, HEIGHT - BELOW - (HEIGHT - BELOW - ABOVE) * up

    for value in ticks(low, high):
        _, y = place(first, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 16}" stroke="#e4e4e4"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{value:.4g}", "#555", "end", 10))
    for step in (first, last):
        parts.append(_text(place(step, low)[0], HEIGHT - 12, str(step), "#555", "middle", 10))
    for number, (label, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        if len(curves) > 1:
            parts.append(_text(WIDTH - 18 - 56 * (len(curves) - 1 - number), 20, label, colour, "end", 11))
    return "".join(parts)


def points_of(lines: Sequence[dict[str, Any]], name: str) -> Points:
    """(step, value) where the metric is a finite number."""
    found = ((line["step"], line.get(name)) for line in lines)
    return [(step, value) for step, value in found if isinstance(value, int | float) and math.isfinite(value)]


def thinned(points: Points, most: int = POINTS) -> Points:
    """At most `most` points, each the mean of its neighbours."""
    size = -(-len(points) // most) if points else 1
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _span(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between two."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    return [i * size for i in range(math.ceil(low / size), math.floor(high / size) + 1)]


def _text(x: float, y: float, text: str, colour: str, anchor: str, size: int) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
    )
