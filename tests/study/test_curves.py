"""The curves show what the tables and the runs say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.study.results.curves import draw_curves, gain_points, pair_points, training_points


def row(label: str, mean: float, **more: Any) -> dict[str, Any]:
    interval = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}
    return {"label": label, "seeds": 2, "cot": {"all": {"mean": interval}}, **more}


def results(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    tables = {"losses": [row("base", 0.5)], "pairs": pairs}
    return {"tables": tables, "config": {"seeds": [3], "size": 1, "losses": ["mpo"]}}


def test_the_base_stands_at_no_pairs_and_rows_at_those_of_one_seed() -> None:
    points = pair_points(results([row("1x", 0.55, pairs=2000)]))
    assert [(point["pairs"], point["mean"]) for point in points] == [(0, 50.0), (1000, pytest.approx(55.0))]
    assert pair_points(results([])) == []


def test_every_row_that_gained_stands_in_the_picture_with_its_seeds(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    gained = row("10x", 0.55)
    gained["cot"]["all"]["gain"] = {"difference": {"mean": 0.05, "low": 0.02, "high": 0.08}}
    gained["cot"]["of_seeds"] = [0.54, 0.56]
    found = results([row("1x", 0.5), gained])
    (point,) = gain_points(found)
    assert point["row"] == "pairs: 10x"
    assert [point["low"], point["mean"], point["high"], *point["seeds"]] == pytest.approx([2, 5, 8, 4, 6])
    assert "pairs: 10x" in draw_curves(found, tmp_path)["gains.svg"]


def test_a_training_curve_is_thinned_to_means() -> None:
    lines = [{"step": n, "steps": 240, "nll": float(n)} for n in range(240)]
    points = list(training_points("mpo", lines, "nll"))
    assert len(points) == 60
    assert points[0]["value"] == pytest.approx(1.5)
    assert points[-1]["done"] == pytest.approx(237.5 / 240)


def test_what_was_not_studied_has_no_curve(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    assert draw_curves(results([]), tmp_path) == {}
    run = tmp_path / "steps" / "s3" / "train-mpo-1x" / "run"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text(json.dumps({"step": 0, "steps": 1, "nll": 0.5}) + "\n")
    drawn = draw_curves(results([row("1x", 0.55, pairs=2000)]), tmp_path)
    assert sorted(drawn) == ["curve-nll.svg", "curve-pairs.svg"]
    assert "nats a token" in drawn["curve-nll.svg"]


def test_a_loss_without_a_reference_has_no_reward(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    for loss in ("sft", "mpo"):
        run = tmp_path / "steps" / "s3" / f"train-{loss}-1x" / "run"
        run.mkdir(parents=True)
        (run / "metrics.jsonl").write_text(json.dumps({"step": 0, "steps": 1, "nll": 0.5, "reward/margin": 1.0}) + "\n")
    found = results([])
    found["config"]["losses"] = ["sft", "mpo"]
    drawn = draw_curves(found, tmp_path)
    assert ">sft<" in drawn["curve-nll.svg"]
    assert ">sft<" not in drawn["curve-reward-margin.svg"]
    assert ">mpo<" in drawn["curve-reward-margin.svg"]
