"""The learning curve of the nano checkpoint as a picture (SVG), drawn from `learning_curve.json`."""

from __future__ import annotations

from typing import Literal, TypedDict

from mmpr_pipeline.core.charts import CurvePanel, curves_svg

_LABELS: dict[Literal["response_nats", "probe_nats"], str] = {
    "response_nats": "responses, nats a token",
    "probe_nats": "probes of the visual tokens, nats",
}


class CurvePoint(TypedDict):
    """Losses at a step of a stage, and the seconds since the stage began."""

    stage: Literal["see", "speak"]
    step: int
    response_nats: float
    probe_nats: float
    seconds: float


def curve_svg(curve: list[CurvePoint]) -> str:
    """SVG with both losses over the steps of both stages, on a logarithmic scale."""
    seen = max((point["step"] for point in curve if point["stage"] == "see"), default=0)
    steps = [point["step"] + (seen if point["stage"] == "speak" else 0) for point in curve]
    curves = {
        label: [(step, point[name]) for step, point in zip(steps, curve, strict=True) if point[name] > 0]
        for name, label in _LABELS.items()
    }
    axis = "step (dashed: from seeing to speaking)"
    panel = CurvePanel("", curves, x_title=axis, rules=(seen,), exact=True, log=True)
    return curves_svg(f"nano: {max(steps)} steps", [panel], columns=1, size=(560, 240))
