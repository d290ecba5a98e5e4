"""Charts as SVG, drawn in this process by `vl_convert` from Vega-Lite specifications, in one of two styles.

One kind of chart is made here, for whoever has a course to show: curves over steps, in panels side by side, each
smoothed, with the raw values behind it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

POINTS = 600
"""Most points of a curve that are drawn; more are averaged."""
COLOURS = ("#4656d8", "#c8374e", "#1a8a55", "#b7791f", "#7a4fa3")

_SHORTLY = (
    "datum.value === 0 ? '0' : abs(datum.value) < 1e-3 ? format(datum.value, '.2~e') : "
    "abs(datum.value) >= 1e4 ? format(datum.value, '.3~s') : format(datum.value, '.3~g')"
)
"""A number of an axis in few signs, as a Vega expression."""

Points = Sequence[tuple[float, float]]
"""(step, value)."""


@dataclass(frozen=True)
class CurvePanel:
    """One diagram: its title, and its curves by label. `exact` ones are drawn as they are, never smoothed; `rules` are
    steps at which a dashed line stands; `log` draws the values, which must then be positive, on a logarithmic scale."""

    title: str
    curves: Mapping[str, Points]
    x_title: str = ""
    exact: bool = False
    rules: tuple[float, ...] = ()
    log: bool = False
    colours: tuple[str, ...] = COLOURS


def curves_svg(
    title: str,
    panels: Sequence[CurvePanel],
    *,
    smoothing: float = 0.0,
    columns: int = 3,
    size: tuple[int, int] = (330, 170),
) -> str:
    """One picture of the panels that have anything to show. `smoothing` is the weight of the past in the moving average
    that is drawn over the raw values: 0 shows these alone. `size` is that of a panel, in pixels.

    Raises MissingPackageError without `vl-convert-python`.
    """
    sized = {"width": size[0], "height": size[1]}
    shown = [_panel(panel, 0 if panel.exact else smoothing) | sized for panel in panels if any(panel.curves.values())]
    spec = {
        "title": {"text": title, "fontSize": 15, "offset": 14},
        "concat": shown,
        "columns": columns,
        "spacing": 30,
        "resolve": {"scale": {"color": "independent"}},
    }
    return with_own_ids(chart_svg(spec, PAPER), "curves")


def smoothed(points: Points, factor: float) -> list[tuple[float, float]]:
    """Exponential moving average, corrected for its start."""
    total = weight = 0.0
    found = []
    for step, value in points:
        total = factor * total + (1 - factor) * value
        weight = factor * weight + (1 - factor)
        found.append((step, total / weight))
    return found


def thinned(points: Points, most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of its neighbours."""
    size = -(-len(points) // most) if points else 1
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _panel(panel: CurvePanel, smoothing: float) -> dict[str, object]:
    curves = {label: points for label, points in panel.curves.items() if points}
    over = {label: smoothed(points, smoothing) for label, points in curves.items()}
    # All of the smooth curves and nearly all raw values: one spike does not flatten everything else.
    raw = [value for points in curves.values() for _, value in points]
    span_over = [value for points in over.values() for _, value in points]
    raw = sorted(raw)
    span_low = min(*span_over, raw[int(0.01 * len(raw))]) if len(span_over) > 1 else span_over[0]
    span_high = max(*span_over, raw[math.ceil(0.99 * len(raw)) - 1]) if len(span_over) > 1 else span_over[0]
    flat = span_high - span_low <= 1e-9 * max(
        abs(span_low), abs(span_high)
    )  # the average of equal values differs in its last bits
    margin = abs(span_high) * 0.1 or 1.0 if flat else 0.05 * (span_high - span_low)
    low, high = (span_low - margin, span_high + margin)  # fmt: skip
    scale: dict[str, object] = {"type": "log"} if panel.log else {"domain": [low, high], "nice": True, "zero": False}
    names = list(curves)
    x = {
        "field": "step", "type": "quantitative", "title": panel.x_title or None,
        "scale": {"nice": False, "zero": False},
        "axis": {"grid": False, "tickCount": 5, "format": "~s", "tickMinStep": 1},
    }  # fmt: skip
    y = {
        "field": "value", "type": "quantitative", "title": None, "scale": scale,
        "axis": {"tickCount": 5, "domain": False, "minExtent": 40, "labelExpr": _SHORTLY},
    }  # fmt: skip
    legend = {"symbolType": "stroke", "symbolStrokeWidth": 2, "symbolOpacity": 1} if len(names) > 1 else None
    color = {
        "field": "curve", "type": "nominal", "legend": legend,
        "scale": {"domain": names, "range": panel.colours[: len(names)]},
    }  # fmt: skip

    def layer(kept: Mapping[str, Points], **line: object) -> dict[str, object]:
        rows = [
            {"curve": label, "step": step, "value": value}
            for label, points in kept.items()
            for step, value in thinned(points)
        ]
        mark = {"type": "line", "clip": True, "point": all(len(points) == 1 for points in kept.values()), **line}
        return {"data": {"values": rows}, "mark": mark, "encoding": {"x": x, "y": y, "color": color}}

    layers = [layer(curves, strokeWidth=1, opacity=0.3)] if smoothing else []
    layers.append(layer(over, strokeWidth=1.7))
    if panel.rules:
        rule = {"type": "rule", "strokeDash": [3, 3], "color": "#999"}
        layers.append(
            {"data": {"values": [{"step": step} for step in panel.rules]}, "mark": rule, "encoding": {"x": x}}
        )
    return {"title": panel.title, "layer": layers}


WIDTH = 340
"""Pixels that a page's chart is drawn for: a phone's; wider pages scale it up a little or set charts side by side."""
INK, FAINT, LINE = "var(--ink)", "var(--faint)", "var(--line)"
GOOD, BAD, NEUTRAL, ACCENT, SECOND = "var(--good)", "var(--bad)", "var(--neutral)", "var(--accent)", "var(--second)"
"""Colours of a page's charts: its own variables, so that one drawing serves dark and light."""


def _config(ink: str, faint: str, line: str) -> dict[str, object]:
    small = {"labelFontSize": 11, "titleFontSize": 11}
    return {
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": faint, "titleColor": faint, "gridColor": line, "domainColor": line, "ticks": False, **small,
            "titleFontWeight": "normal", "labelPadding": 6, "titlePadding": 8, "labelLimit": 170,
        },
        "legend": {
            "labelColor": ink, "orient": "top", "title": None, "labelFontSize": 11, "symbolType": "square", "offset": 8,
            "symbolStrokeWidth": 0, "columnPadding": 16,
        },
        "text": {"color": faint, "fontSize": 11},
        "title": {"color": ink, "fontSize": 12, "anchor": "start", "fontWeight": 600},
    }  # fmt: skip


PAGE: dict[str, object] = {
    "config": _config(INK, FAINT, LINE),
    "background": None,
    "width": WIDTH,
    "autosize": {"type": "fit-x", "contains": "padding"},
    "padding": 2,
}
"""For a chart that stands in one of our pages."""
PAPER: dict[str, object] = {"config": _config("#1d1d1f", "#55555b", "#e4e4e0"), "background": "white", "padding": 14}
"""For a picture that stands alone."""


def chart_svg(spec: Mapping[str, object], style: Mapping[str, object] = PAGE) -> str:
    """The SVG of a specification; text in it is escaped, and its ids are its own wherever it is put.

    Raises MissingPackageError without `vl-convert-python`.
    """
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        from mmpr_pipeline.core.errors import explain_missing_package

        raise explain_missing_package(error) or error from None
    svg: str = vl_convert.vegalite_to_svg({**style, **spec})
    return svg


def with_own_ids(svg: str, name: str) -> str:
    """The drawing with its clips named after the chart: several on one page must not share ids, and the renderer's
    count goes on from drawing to drawing."""
    ids = {found: f"{name}-{number}" for number, found in enumerate(dict.fromkeys(re.findall(r'id="(clip\d+)"', svg)))}
    return re.sub(r'(id="|url\(#)(clip\d+)(?=["\)])', lambda match: match[1] + ids.get(match[2], match[2]), svg)
