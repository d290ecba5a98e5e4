from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.run.plot import metrics_svg, plot, thinned, ticks


def lines(count: int) -> list[dict[str, float]]:
    return [
        {"step": i, "loss": 2.0 - i / count, "loss/dpo": 0.7, "loss/bco": 1.3, "lr": 1e-5, "kl": float("nan")}
        for i in range(count)
    ]


def test_every_metric_of_the_run_becomes_a_curve_that_falls_as_it_does(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(50)) + '{"torn')
    root = ET.parse(plot(tmp_path)).getroot()
    space = "{http://www.w3.org/2000/svg}"
    curves = [c.get("points", "").split() for c in root.iter(f"{space}polyline")]
    assert [len(c) for c in curves] == [50, 50, 50, 50]  # loss, two terms, rate; no point of a kl that is nan
    heights = [float(point.split(",")[1]) for point in curves[0]]
    assert heights == sorted(heights)  # down the picture
    texts = " ".join(t.text or "" for t in root.iter(f"{space}text"))
    assert "50 steps" in texts
    assert "dpo" in texts


def test_long_runs_are_thinned_and_names_cannot_break_the_picture() -> None:
    assert len(thinned([(float(i), 1.0) for i in range(10_000)])) <= 600
    ET.fromstring(metrics_svg(lines(3), "<script>&"))


def test_ticks_are_round_and_within() -> None:
    for low, high in ((0.13, 0.99), (-3, 17), (1e-7, 5e-6)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 6
        assert all(low <= value <= high for value in found)


def test_a_folder_without_metrics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no metrics"):
        plot(tmp_path)
