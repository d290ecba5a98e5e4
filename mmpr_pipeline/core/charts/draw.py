"""Vega-Lite specifications to SVG, drawn in this process by `vl_convert`, in one of two styles."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
