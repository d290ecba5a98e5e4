"""`mmpr sources check`: right sources pass, and each thing that is wrong is told with its rows."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmpr_pipeline.cli import app
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.review.checks import blocks, check_source, finding_lines
from mmpr_pipeline.sources.review.findings import Checked
from tests.sources.conftest import Declare
from tests.sources.made import png_bytes

COLUMNS = {"id": "id", "question": "q", "image": "image", "answer": "a"}


def checked(declare: Declare, tmp_path: Path, rows: list[dict[str, Any]], number: int = 0, **fields: Any) -> Checked:
    (tmp_path / "images").mkdir(exist_ok=True)
    for i in range(len(rows)):
        (tmp_path / "images" / f"{i}.png").write_bytes(png_bytes(i, (40, 30)))
    made = [{"id": f"r{i}", "q": f"What is {i}?", "image": f"images/{i}.png", **row} for i, row in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, made)), "utf-8")
    data = {"files": "rows.jsonl", "columns": COLUMNS, "kind": "number", "answer_form": None, **fields}
    return check_source(declare(**data), number)


def found(result: Checked) -> dict[str, tuple[str, list[int]]]:
    return {finding.name: (finding.level, [row for row, _ in finding.rows]) for finding in result.findings}


def test_a_right_source(declare: Declare, tmp_path: Path) -> None:
    result = checked(declare, tmp_path, [{"a": str(i)} for i in range(30)])
    assert found(result) == {}
    assert (result.accepted, result.answered, result.refused, result.foreign) == (30, 30, 30, 30)
    assert not result.serious
    assert list(finding_lines(result))[-1].strip() == "nothing wrong was found"


def test_a_wrong_kind_is_serious_and_its_rows_are_named(declare: Declare, tmp_path: Path) -> None:
    result = checked(declare, tmp_path, [{"a": f"a colour {chr(97 + i)}"} for i in range(20)])
    level, rows = found(result)["gold_not_accepted"]
    assert (level, rows) == ("error", list(range(20)))
    assert result.serious
    assert 'line 1: "a colour a" is' in "\n".join(finding_lines(result))


def test_a_column_that_differs_by_case_is_said_once_with_the_right_one(declare: Declare, tmp_path: Path) -> None:
    rows = [{"a": str(i)} for i in range(12)]
    result = checked(declare, tmp_path, rows, columns={**COLUMNS, "answer": "A"})
    assert found(result)["missing_column"] == ("error", list(range(12)))
    lines = [line.strip() for line in finding_lines(result)]
    assert "every row: there is no column A; did you mean a?" in lines
    assert not any(line.startswith("line ") for line in lines)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_column_that_differs_by_case_is_named_in_files_of_columns(
    declare: Declare, tmp_path: Path, format: str
) -> None:
    table = pa.table({"id": ["1", "2"], "q": ["How many?", "How much?"], "a": ["1", "2"], "image": [png_bytes(1)] * 2})
    if format == "parquet":
        pq.write_table(table, tmp_path / "rows.parquet")
    else:
        with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    columns = {**COLUMNS, "question": "Q", "answer": "a"}
    result = check_source(declare(files=f"rows.{format}", columns=columns, kind="number", answer_form=None), 0)
    assert "there is no column Q; did you mean q?" in "\n".join(finding_lines(result))


def test_a_wrong_answer_form_shows_as_rejects(declare: Declare, tmp_path: Path) -> None:
    rows = [{"a": i % 3 + 1, "c": ["red", "blue", "green"]} for i in range(9)]
    columns = {**COLUMNS, "choices": "c"}
    wrong = checked(declare, tmp_path, rows, columns=columns, kind="choice", answer_form="index")
    assert found(wrong)["answer_not_a_choice"] == ("error", [2, 5, 8])
    right = checked(declare, tmp_path, rows, columns=columns, kind="choice", answer_form="index1")
    assert found(right) == {}
    assert right.foreign == 9


def test_a_few_bad_rows_are_a_warning(declare: Declare, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": str(i)} for i in range(40)]
    rows[7]["image"] = "images/none.png"
    rows[9]["a"] = None
    rows[11]["q"] = rows[12]["q"] = "The same?"
    rows[12]["image"] = "images/11.png"
    rows[13]["a"] = "about\nnothing"
    (tmp_path / "thin.png").write_bytes(png_bytes(1, (300, 5)))
    rows[20]["image"] = "thin.png"
    result = checked(declare, tmp_path, rows)
    assert found(result) == {
        "missing_image": ("warning", [7]),
        "no_answer": ("warning", [9]),
        "repeated_question": ("warning", [12]),
        "gold_not_accepted": ("warning", [13]),
        "odd_image": ("warning", [20]),
    }
    assert not result.serious


def test_a_kind_that_is_too_lenient_accepts_foreign_golds(declare: Declare, tmp_path: Path) -> None:
    """Documents may be spelled a little differently: long answers that differ by a letter pass for each other."""
    close = [{"a": f"the {word} report of the year about imports and exports"} for word in ("main", "maim", "mail") * 5]
    level, bad = found(checked(declare, tmp_path, close, kind="document"))["foreign_accepted"]
    assert level == "error"
    assert len(bad) == 15


def test_one_gold_or_one_image_for_everything(declare: Declare, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": "1", "image": "images/0.png"} for _ in range(20)]
    result = checked(declare, tmp_path, rows)
    assert found(result)["one_gold"][0] == "error"
    assert found(result)["one_image"][0] == "warning"
    rows[3]["a"] = "2"
    assert found(checked(declare, tmp_path, rows))["one_gold"] == ("warning", [i for i in range(20) if i != 3])


def test_equal_choices_and_open_questions(declare: Declare, tmp_path: Path) -> None:
    rows = [{"a": "A", "c": ["red", "Red", "blue"]}, {"a": "B", "c": ["red", "blue"]}]
    columns = {**COLUMNS, "choices": "c"}
    result = checked(declare, tmp_path, rows, columns=columns, kind="choice", answer_form="letter")
    assert found(result)["equal_choices"] == ("warning", [0])
    opened = checked(declare, tmp_path, [{}, {}], kind="none")
    assert (opened.answered, found(opened)) == (0, {})
    assert "open-ended" in "\n".join(finding_lines(opened))


def test_nothing_but_rejects_is_serious(declare: Declare, tmp_path: Path) -> None:
    result = checked(declare, tmp_path, [{"a": "1", "q": ""}] * 3)
    assert found(result)["no_questions"][0] == "error"
    assert result.serious


@pytest.mark.parametrize(
    ("total", "wanted"), [(1, 5), (5, 5), (1000, 200), (7, 3), (10_000_000, 200), (11, 10), (200, 199)]
)
def test_blocks_lie_apart_and_reach_both_ends(total: int, wanted: int) -> None:
    spans = blocks(total, wanted)
    assert sum(high - low for low, high in spans) == min(total, wanted)
    assert (spans[0][0], spans[-1][1]) == (0, total)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def test_rows_that_were_picked_keep_their_numbers(declare: Declare, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": str(i)} for i in range(300)]
    rows[299]["a"] = None
    result = checked(declare, tmp_path, rows, number=50)
    assert len(result.items) == 50
    assert [item.source_id for _, item in result.items] == [f"r{row}" for row, _ in result.items]
    assert found(result)["no_answer"] == ("warning", [299])


def test_rows_of_several_questions_are_counted_by_question(declare: Declare, tmp_path: Path) -> None:
    columns = {"id": "id", "image": "image", "each": "qa", "question": "qa.q", "answer": "qa.a"}
    rows = [{"qa": [{"q": f"{i}.{k}?", "a": f"{i}.{k}"} for k in range(3)]} for i in range(5)]
    rows[3]["qa"][1]["a"] = ""
    result = checked(declare, tmp_path, rows, columns=columns)
    assert (result.total, result.accepted) == (15, 14)
    assert found(result) == {"no_answer": ("warning", [10])}


def test_the_commands(declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checked(declare, tmp_path, [{"a": str(i)} for i in range(12)])
    (tmp_path / "made.yaml").unlink()
    run = CliRunner().invoke
    refused = run(app, ["sources", "add", "rows.jsonl"], input="n\n")
    assert refused.exit_code == 1
    assert "--column" in refused.output
    assert not (tmp_path / "rows.yaml").exists()
    added = run(app, ["sources", "add", "rows.jsonl", "--column", "answer=a"], input="\n")
    assert added.exit_code == 0, added.output
    assert "12 of 12 golds" in " ".join(added.output.split())
    assert "mmpr sources check rows.yaml" in added.output
    right = run(app, ["sources", "check", "rows.yaml", "--page", "page.html"])
    assert right.exit_code == 0, right.output
    assert "12 of 12" in right.output
    text = (tmp_path / "rows.yaml").read_text().replace("answer: a ", "answer: id ")
    (tmp_path / "rows.yaml").write_text(text)
    wrong = run(app, ["sources", "check", "rows.yaml"])
    assert wrong.exit_code == 1
    assert "error: gold_not_accepted, 12 rows" in wrong.output


@pytest.mark.parametrize("name", ["mathvision", "puzzlevqa", "easyvqa", "nlvr", "opencqa"])
def test_the_real_sources_pass(name: str, shared_data: Path) -> None:
    examples = Path(__file__).parents[3] / "examples" / "sources"
    result = check_source(open_source(str(examples / f"{name}.yaml"), shared_data), 0)
    assert not result.serious
    assert result.accepted >= 0.98 * result.answered
    assert result.refused == result.foreign
