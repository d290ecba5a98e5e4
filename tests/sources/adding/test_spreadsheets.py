"""`mmpr sources add` and `check` on what comes out of spreadsheets and cameras, by the real command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.adding import draft_source, write_rows
from mmpr_pipeline.sources.adding.answers import kind_of_golds
from mmpr_pipeline.sources.review.checks import check_source, finding_lines
from tests.sources.made import png_bytes


def mmpr(folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "sources", *arguments]
    return subprocess.run(command, cwd=folder, input=said, capture_output=True, text=True, timeout=60)


def table(folder: Path, sign: str, *, choice: bool = False) -> Path:
    """Seven questions: the third row holds a line end, the fourth has no question, the fifth a gold that is none."""
    golds = ["3,5", "4", "5", "6", "n/a", "7", "8"]
    asked = ["How many red?", "How many\nblue?", "How many green?", "", "How many grey?", "How many black?", "And?"]
    path = folder / "labels_v2.csv"
    lines = [sign.join(("Picture File", "Prompt", "Ground truth"))]
    for number, (text, gold) in enumerate(zip(asked, golds, strict=True)):
        (folder / f"{number}.png").write_bytes(png_bytes(number))
        gold = "ABCD"[number % 4] if choice else gold
        lines.append(sign.join((f"{number}.png", f'"{text}"' if "\n" in text else text, f'"{gold}"')))
    path.write_text("\ufeff" + "\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("sign", [",", ";", "|", "\t"])
def test_a_csv_is_understood_whatever_stands_between_its_cells(tmp_path: Path, sign: str) -> None:
    draft = draft_source(str(table(tmp_path, sign)), out=tmp_path / "charts.yaml")
    columns = draft.declaration.columns
    assert (columns.question, columns.answer, columns.image) == ("Prompt", "Ground truth", "Picture File")
    assert draft.declaration.name == "charts"
    draft.write()
    source = open_source(str(draft.path))
    items = list(source.read(source.index(), 0, 7))
    assert [isinstance(item, Question) for item in items] == [True, True, True, False, True, True, True]
    found = "\n".join(finding_lines(check_source(source)))
    assert "line 6: `Prompt` is empty" in found
    assert "empty_question, 1 row:" in found
    assert 'line 7: "n/a" as ' in found


def test_a_column_of_its_own_that_holds_semicolons_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,choices\nWhich?,a;b\n")
    [item] = open_rows(path)
    assert item == {"question": "Which?", "choices": "a;b"}


def open_rows(path: Path) -> list[object]:
    from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS
    from mmpr_pipeline.sources.files.formats import LocalFile, Scan

    file, reader, scan = LocalFile(path, path.name, path.stat().st_size), ROW_FORMATS.get("csv"), Scan()
    reader.scan(file, scan)
    return [dict(row) for row in reader.read(file, tuple(scan.marks), 0, scan.rows, None)]


def test_what_says_that_there_is_no_answer_is_no_number() -> None:
    golds = ["3", "4", *["5"] * 30, "n/a"]
    assert kind_of_golds(golds, [()] * len(golds), "rows") == ("number", "every gold is a number")
    assert kind_of_golds(["n/a", "-"], [(), ()], "rows") == ("none", "no row has a gold")


def test_a_choice_without_choices_is_an_error(tmp_path: Path) -> None:
    done = mmpr(tmp_path, "add", str(table(tmp_path, ",", choice=True)), "--out", "charts.yaml", "-y")
    assert done.returncode == 0, done.stderr
    assert "kind: choice" in (tmp_path / "charts.yaml").read_text()
    checked = mmpr(tmp_path, "check", "charts.yaml")
    assert checked.returncode == 1
    assert "error: no_choices, 6 rows" in checked.stdout


def test_a_folder_of_images_alone_becomes_open_ended_questions(tmp_path: Path) -> None:
    photos = tmp_path / "My photos"
    (photos / "deep").mkdir(parents=True)
    for number in range(6):
        (photos / ("deep" if number % 2 else ".") / f"{number}.png").write_bytes(png_bytes(number))
    refused = mmpr(tmp_path, "add", str(photos), "-y")
    assert refused.returncode == 1
    assert "--question" in refused.stderr
    asks = ["--question", "Describe this picture.", "--question", "What is odd here?"]
    done = mmpr(tmp_path, "add", str(photos), *asks, "--out", "pictures.yaml", "-y")
    assert done.returncode == 0, done.stderr
    source = open_source(str(tmp_path / "pictures.yaml"))
    questions = [item for item in source.read(source.index(), 0, 6) if isinstance(item, Question)]
    assert len(questions) == 6
    assert {question.kind for question in questions} == {"none"}
    assert {question.text for question in questions} == {asks[1], asks[3]}
    rows = [json.loads(line) for line in (tmp_path / "pictures.jsonl").read_text().splitlines()]
    with pytest.raises(ConfigError, match="--force"):
        write_rows(photos, asks[1::2], tmp_path / "pictures.jsonl")
    write_rows(photos, asks[1::2], tmp_path / "pictures.jsonl", force=True)
    assert rows == [json.loads(line) for line in (tmp_path / "pictures.jsonl").read_text().splitlines()]


def test_nothing_is_written_by_a_mere_return_where_no_row_is_a_question(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,answer,image\n" + "How many?,3,gone.png\n" * 3)
    done = mmpr(tmp_path, "add", "rows.csv", "--out", "charts.yaml", said="\n")
    assert done.returncode == 1
    assert "[y/N]" in done.stdout
    assert "line 2: the image is missing" in done.stdout
    assert not (tmp_path / "charts.yaml").exists()


def test_force_writes_over_a_declaration(tmp_path: Path) -> None:
    table(tmp_path, ";")
    assert mmpr(tmp_path, "add", "labels_v2.csv", "-y").returncode == 0
    again = mmpr(tmp_path, "add", "labels_v2.csv", "-y")
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert mmpr(tmp_path, "add", "labels_v2.csv", "-y", "--force").returncode == 0
