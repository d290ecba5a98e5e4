from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("vl_convert", reason="charts need vl-convert-python")
from mmpr_pipeline.report import charts
from mmpr_pipeline.report.pages.figures import report_figures
from tests.report.conftest import ATTACK


def labels(svg: str) -> list[str]:
    """What the marks of a chart say they stand for."""
    return [
        mark.get("aria-label", "")
        for mark in ElementTree.fromstring(svg).iter()
        if mark.get("aria-roledescription") == "bar"
    ]


def test_bars_carry_their_numbers_and_what_does_not_fit_is_summed_up() -> None:
    rows = [{"reason": f"r{i}", "questions": 100 - i} for i in range(30)]
    spec = charts.bar_chart(rows, "reason", "questions", charts.BAD)
    assert spec
    found = labels(charts.chart_svg(spec))
    assert found[0] == "questions: 100; reason: r0"
    assert found[-1] == f"questions: {sum(100 - i for i in range(24, 30))}; reason: 6 others"
    assert charts.bar_chart([], "reason", "questions", charts.BAD) is None


def test_names_are_escaped() -> None:
    counts: Any = {"pairs": {"correctness": 3}, "rollouts": {"correct": 2, "incorrect": 1}}
    spec = charts.pairs_by_source({ATTACK: counts})
    assert spec
    svg = charts.chart_svg(spec)
    assert "<script" not in svg
    assert "<img" not in svg
    assert labels(svg) == [f"{ATTACK}: 3 correctness"]


@pytest.mark.parametrize("counts", [{1: 3, 5: 2}, {1: 3, 500: 2, 250: 4}])
def test_upright_bars_keep_every_question(counts: dict[int, int]) -> None:
    spec = charts.column_chart(counts, "rollouts", charts.ACCENT)
    assert spec
    found = [int(re.findall(r"questions: (\d+)", label)[0]) for label in labels(charts.chart_svg(spec))]
    assert sum(found) == sum(counts.values())


def test_every_chart_of_a_dataset_is_one_drawing_with_its_own_ids(out: Any) -> None:
    drawn = charts.charts_of(report_figures(out))
    assert {"funnel", "lost", "pairs", "verdicts", "solve_rates", "lengths", "balance"} <= set(drawn)
    assert "rollouts" not in drawn, "every question has as many: one bar says nothing"
    assert charts.column_chart({4: 9}, "rollouts", charts.ACCENT) is None
    ids = [name for svg in drawn.values() for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    used = [name for svg in drawn.values() for name in re.findall(r"url\(#([^)]+)\)", svg)]
    assert set(used) <= set(ids)
