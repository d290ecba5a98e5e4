from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mmpr_pipeline.core.charts import smoothed, thinned
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.run.view import metrics_svg, plot


def lines(count: int) -> list[dict[str, float]]:
    return [
        {"step": i, "loss": 2.0 - i / count, "loss/dpo": 0.7, "loss/bco": 1.3, "lr": 1e-5, "kl": float("nan")}
        for i in range(count)
    ]


def drawn(svg: str) -> list[list[tuple[float, float]]]:
    """The points of every line of a picture, in pixels."""
    paths = re.findall(r'<path aria-label="[^"]*step[^"]*"[^>]* d="M([^"]+)"', svg)
    return [[(float(x), float(y)) for x, y in (at.split(",") for at in path.split("L"))] for path in paths]


def test_every_metric_of_the_run_becomes_a_curve_that_falls_as_it_does(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(50)) + '{"torn')
    (tmp_path / "held_out.jsonl").write_text('{"step": 0, "accuracy": 0.5}\n{"step": 50, "accuracy": 0.75}\n')
    svg = plot(tmp_path).read_text()
    curves = drawn(svg)
    sizes = [50, 50, 50, 50, 50, 50, 50, 2]  # loss and two terms, raw and smoothed; rate; held out; no kl that is nan
    assert [len(curve) for curve in curves] == sizes
    for loss in curves[:2]:
        heights = [y for _, y in loss]
        assert heights == sorted(heights), "down the picture"
    assert [y for _, y in curves[1]] != [y for _, y in curves[0]], "the smoothed curve lags"
    texts = " ".join(node.text or "" for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))
    assert "50 steps" in texts
    assert "dpo" in texts
    assert "held out: pairs with the chosen ahead" in texts
    assert len(drawn(plot(tmp_path, smoothing=0).read_text())) == 5, "the raw values alone"
    with pytest.raises(ConfigError, match="from 0 to below 1"):
        plot(tmp_path, smoothing=1.0)


def test_long_runs_are_thinned_and_names_cannot_break_the_picture() -> None:
    assert len(thinned([(float(i), 1.0) for i in range(10_000)])) <= 600
    ET.fromstring(metrics_svg(lines(3), "<script>&"))


def test_one_spike_does_not_flatten_the_others() -> None:
    noisy = [{"step": i, "loss": 1.0 + i % 2 + 1000 * (i == 150)} for i in range(300)]
    raw = [y for _, y in drawn(metrics_svg(noisy, "run", smoothing=0.99))[0]]
    low, high = (y for y in (raw[0], raw[1]))
    assert abs(low - high) > 10, "px between 1 and 2"


def test_smoothing_is_corrected_for_its_start() -> None:
    assert smoothed([(0, 4.0), (1, 4.0), (2, 4.0)], 0.9) == [(0, 4.0), (1, 4.0), (2, 4.0)]
    assert smoothed([(0, 1.0), (1, 4.0)], 0.5)[1][1] == pytest.approx((0.5 * 1 + 4) / 1.5)


def test_a_folder_without_metrics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no metrics"):
        plot(tmp_path)


def test_what_never_changes_has_an_axis_around_it() -> None:
    svg = metrics_svg([{"step": i, "loss": 31.5} for i in range(400)], "run")
    (height,) = {round(y) for _, y in drawn(svg)[1]}
    assert 40 < height < 130, "px, in the middle of the panel"
