"""The learning curve of the nano checkpoint as a picture (SVG), drawn from `learning_curve.json`."""

from __future__ import annotations

import math
from typing import Any

WIDTH, HEIGHT, MARGIN = 640, 300, 48  # px
_COLOURS = {"response_nats": "#1f5fbf", "probe_nats": "#c0392b"}
_TITLES = {"response_nats": "responses, nats a token", "probe_nats": "probes of the visual tokens, nats"}


def curve_svg(curve: list[dict[str, Any]]) -> str:
    """SVG with both losses over the steps of both stages, on a logarithmic scale."""
    offset = max((point["step"] for point in curve if point["stage"] == "see"), default=0)
    last = max(point["step"] + (offset if point["stage"] == "speak" else 0) for point in curve)
    losses = [point[name] for point in curve for name in _COLOURS if point[name] > 0]
    low, high = math.log10(min(losses)), math.log10(max(losses))

    def place(step: float, loss: float) -> str:
        x = MARGIN + (WIDTH - 2 * MARGIN) * step / last
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (math.log10(loss) - low) / max(high - low, 1e-9)
        return f"{x:.1f},{y:.1f}"

    lines = []
    for number, (name, colour) in enumerate(_COLOURS.items()):
        points = " ".join(
            place(point["step"] + (offset if point["stage"] == "speak" else 0), point[name])
            for point in curve
            if point[name] > 0
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        lines.append(_text(WIDTH - MARGIN, MARGIN + 16 * number, _TITLES[name], colour, "end"))
    for power in range(math.ceil(low), math.floor(high) + 1):
        lines.append(_rule(place(0, 10**power), place(last, 10**power), f"{10.0**power:g}"))
    border = place(offset, 10**low).split(",")[0]
    lines.append(f'<path d="M{border} {MARGIN}V{HEIGHT - MARGIN}" stroke="#999" stroke-dasharray="3 3"/>')
    title = f"step (dashed: from seeing to speaking; {last} in all)"
    lines.append(_text(WIDTH // 2, HEIGHT - 14, title, "#333", "middle"))
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: int, y: int, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{text}</text>'


def _rule(start: str, end: str, label: str) -> str:
    y = float(start.split(",")[1])
    return f'<path d="M{start}L{end}" stroke="#ddd"/>' + _text(MARGIN - 6, round(y + 4), label, "#333", "end")
