"""Reading cases, writing verdicts, counting, explaining."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from mmpr_pipeline.checking import CHECKER, cases
from mmpr_pipeline.checking.table import print_summary
from mmpr_pipeline.core.errors import StoreError

LINES = [
    {"id": "m-1", "kind": "number", "gold": "5", "response": "Final answer: 5", "label": True},
    {"id": "m-2", "kind": "number", "gold": "5", "response": "Final answer: 6", "label": False},
    {"id": "m-3", "kind": "number", "gold": "5", "response": "Final answer: 6", "label": True},
    {"id": "m-4", "kind": "number", "gold": "5", "response": "Final answer: 5", "label": False},
    {"id": "t-1", "kind": "choice", "choices": {"A": "red", "B": "blue"}, "gold": "blue", "response": " ",
    "prediction": "B", "label": True},
    {"id": "t-2", "kind": "unheard_of", "gold": 5, "prediction": 5},
    {"id": "t-3", "kind": "list", "gold": [1, 2], "prediction": "[1, 2]", "label": True},
    {"id": "t-4", "gold": "5"},
    {"id": "t-5", "response": "5"},
    {"id": "t-6", "kind": 7, "gold": "5", "response": "5"},
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cases.jsonl"
    whole = [json.dumps(line) for line in LINES]
    path.write_text("\n".join([*whole, "", "[1]", '{"id": "torn", "gold": "5', "null"]), encoding="utf-8")
    return path


def test_every_line_gets_a_verdict_and_none_stops_the_run(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "verdicts.jsonl"
    cases.run_cases(file, out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {tuple(row) for row in rows} == {("id", "verdict", "extracted", "rule", "checker")}
    assert {row["checker"] for row in rows} == {CHECKER}
    found = {row["id"]: (row["verdict"], row["rule"]) for row in rows}
    assert found["m-1"][0] == "correct"
    assert found["m-2"][0] == "incorrect"
    assert [found[name][0] for name in ("t-1", "t-2", "t-3")] == ["correct"] * 3
    assert found["t-4"] == ("unparseable", "missing_answer")
    assert found["t-5"] == ("unparseable", "missing_gold")
    assert found["t-6"] == ("unparseable", "bad_kind")
    assert [found[f"line {n}"][1] for n in (12, 13, 14)] == ["not_an_object", "torn_line", "not_an_object"]


def test_counts(file: Path) -> None:
    summary = cases.run_cases(file, None)
    score = summary.by_kind["number"]
    assert (score.cases, score.labelled, score.right, score.false_positives, score.false_negatives) == (5, 4, 2, 1, 1)
    assert score.accuracy == 0.5
    assert summary.unknown_kinds == {"unheard_of": 1}
    assert summary.total.cases == 13
    assert summary.total.unparseable == 6
    assert set(summary.by_source) == {"m", "t", "?"}
    assert summary.total.per_second > 0
    assert cases.Score("none").accuracy is None


def test_the_level_asked_for_is_judged(file: Path) -> None:
    verdicts = {judged.id: judged for judged in cases.judge_file(file, "prediction")}
    assert verdicts["m-1"].rule == "same_number", "it has no prediction: its response is judged"
    assert verdicts["t-1"].outcome == "correct"
    verdicts = {judged.id: judged for judged in cases.judge_file(file, "response")}
    assert verdicts["t-1"].outcome == "correct", "it has no response: its prediction is judged"


def test_explain_names_what_was_extracted_and_tried(file: Path) -> None:
    case = cases.find_case(file, "m-2")
    assert case is not None
    text = cases.explain(case)
    assert "final_answer" in text
    assert "'6'" in text
    assert "incorrect" in text
    assert cases.find_case(file, "nobody") is None


def test_the_table_shows_each_kind(file: Path) -> None:
    console = Console(width=140, record=True)
    print_summary(cases.run_cases(file, None), console)
    text = console.export_text()
    assert "number" in text
    assert "50.00%" in text


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Cannot read"):
        cases.run_cases(tmp_path / "none.jsonl", None)
    (tmp_path / "one.jsonl").write_text("")
    with pytest.raises(StoreError, match="Cannot write"):
        cases.run_cases(tmp_path / "one.jsonl", tmp_path / "no" / "such" / "folder.jsonl")


def test_a_fault_of_ours_costs_one_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("mmpr_pipeline.checking.api.extract", broken)
    judged = cases.judge_line(json.dumps(LINES[0]))
    assert (judged.outcome, judged.rule) == ("unparseable", "checker_failed")
