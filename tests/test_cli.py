"""The command `mmpr`, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mmpr_pipeline
from mmpr_pipeline.cli import app, main
from mmpr_pipeline.cli.app import COMMANDS, load
from mmpr_pipeline.core.errors import MmprError
from tests.pipeline.made import make_source


def mmpr(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmpr_pipeline.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_help_names_every_command() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    for command in ("build", "check", "sources", "verify", "stats", "show"):
        assert command in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build"], "sources is missing"),
        (["build", "--out", "x", "--sources", "no_such_source"], "no_such_source"),
        (["build", "--out", "x", "--sources", "nano_grid", "--shards", "0"], "--shards: 0 must be at least 1"),
        (["build", "--out", "x", "--sources", "nano_grid,nano_grid"], "named twice: nano_grid"),
        (["build", "--out", "x", "--sources", "nano_grid", "--engine", "replay"], "give --rollouts FILE"),
        (["build", "--sources", "nano_grid", "--engine", "vlm"], "--engine (engine.name): There is no engine 'vlm'"),
        (["build", "--sources", "nano_grid", "--engine", "vlm"], "did you mean vllm?"),
        (["build", "--sources", "nano_grid", "--style", "cot"], "did you mean cot-final"),
        (["build", "--sources", "nano_grid", "--strategies", "corectness"], "did you mean correctness?"),
        (["build", "--sources", "geoqqa"], "Did you mean geoqa"),
        (["export", "nowhere", "--to", "trll"], "did you mean trl"),
        (["build", "missing.yaml"], "Cannot read the config"),
        (["verify", "nowhere"], "There is nothing at"),
        (["stats", "nowhere"], "There is nothing at"),
        (["show", "tests"], "is no output of `mmpr build`"),
        (["sources", "show", "no_such_source"], "no_such_source"),
    ],
)
def test_mistakes_are_answered_with_the_remedy_and_without_a_traceback(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmpr", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert stopped.value.code == 1, text
    assert said in text
    assert "Traceback" not in text
    assert "What to do" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_says_a_default_twice_or_in_brackets_of_its_own(name: str) -> None:
    command = load(name)
    for each in getattr(command, "commands", {name: command}).values():
        shown = CliRunner().invoke(
            app, [name, *([each.name] if each is not command else []), "--help"], env={"COLUMNS": "400"}
        )
        assert shown.exit_code == 0
        wrong = [line for line in shown.output.splitlines() if line.count("[default:") > 1 or "[default: (" in line]
        assert not wrong


def test_a_flag_that_does_not_exist_is_named() -> None:
    done = mmpr("build", "--shardz", "3")
    assert done.returncode == 2
    assert "--shardz" in done.stderr


def test_a_command_that_does_not_exist_is_answered_with_the_nearest() -> None:
    done = mmpr("buidl")
    assert done.returncode == 2
    assert "did you mean build?" in done.stderr


@pytest.mark.parametrize(
    ("was", "wrong", "said"),
    [
        ("kind: {column: kind}", "kind: numeric", "kind: 'numeric' is none of"),
        ("kind: {column: kind}", "kind: numeric", "did you mean number?"),
        ("columns:", "colums:", "colums: there is no such setting; did you mean columns?"),
        ("text_only:", "textonly:", "did you mean text_only?"),
        ("question: question", "question: Question", "no column Question; did you mean question?"),
        ("answer: answer", "answer: Answer", "no column Answer; did you mean answer?"),
        ("image: image", "image: imgae", "no column imgae; did you mean image?"),
    ],
)
def test_a_wrong_word_in_a_declaration_is_answered_with_the_nearest(
    tmp_path: Path, was: str, wrong: str, said: str
) -> None:
    source = make_source(tmp_path, questions=8)
    source.write_text(source.read_text().replace(was, wrong))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["build", "--sources", str(source), "--out", str(out), "--engine", "scripted"])
    assert isinstance(result.exception, MmprError)
    assert said in str(result.exception)
    assert "pydantic" not in str(result.exception)
    assert not out.exists(), "nothing is begun"


def test_eval_looks_for_both_models_before_it_loads_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: object) -> None:
        pytest.fail("an engine is started")

    monkeypatch.setattr("mmpr_pipeline.cli.evaluation.quiet_engine", loads)
    words = ["eval", "nano", "--against", "./nowhere", "--sources", "nano_grid", "--limit", "2"]
    stopped = CliRunner().invoke(app, words).exception
    assert isinstance(stopped, MmprError)
    assert "The model directory ./nowhere does not exist" in stopped.message


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=10)
    words = ["build", "--sources", str(source), "--out", str(tmp_path / "out"), "--shards", "4", "--engine", "scripted"]
    done = mmpr(*words, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "320 rollouts" in done.stdout.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_sources_are_listed_shown_and_previewed(tmp_path: Path) -> None:
    listed = mmpr("sources", "list")
    assert listed.returncode == 0, listed.stderr
    assert "mathvista" in listed.stdout
    assert "geoqa" in listed.stdout
    assert mmpr("sources", "show", "mathvista").returncode == 0
    source = make_source(tmp_path / "source", questions=3)
    shown = mmpr("sources", "preview", str(source), "-n", "2")
    assert "How many in picture 1?" in shown.stdout, shown.stderr


def test_check_prints_a_table_and_writes_verdicts(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    rows = [
        {"id": "1", "kind": "number", "gold": "5", "response": "So it is.\nFinal answer: 5", "label": True},
        {"id": "2", "kind": "choice", "gold": "B", "choices": ["x", "y"], "prediction": "A", "label": False},
    ]
    cases.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"id": "3", "ki')
    done = mmpr("check", str(cases), "--out", str(tmp_path / "verdicts.jsonl"))
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [v["verdict"] for v in verdicts] == ["correct", "incorrect", "unparseable"]
    assert {"id", "verdict", "extracted", "rule"} <= set(verdicts[0])


def test_no_column_of_a_table_is_cut_at_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps({"id": "1", "kind": "number", "response": "Final answer: 5", "gold": "5"}) + "\n")
    checked = CliRunner().invoke(app, ["check", str(cases)]).output
    assert "unclear" in checked
    assert "cases/s" not in checked
    listed = CliRunner().invoke(app, ["sources", "list"]).output
    assert "…" not in listed
    assert "Diagrams of school science with choices." in listed


def test_a_build_is_verified_marked_and_paired_again(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=4)
    out = tmp_path / "out"
    built = mmpr("build", "--sources", str(source), "--out", str(out), "--shards", "1", "--engine", "scripted")
    assert built.returncode == 0, built.stderr
    assert mmpr("verify", str(out)).returncode == 0
    pair = next(iter(mmpr_pipeline.load(str(out))))
    mark = {"question_id": pair["question_id"], "index": pair["chosen_index"], "outcome": "incorrect", "by": "ana"}
    (tmp_path / "ana.jsonl").write_text(json.dumps(mark) + "\n")
    assert "1 new marks" in mmpr("marks", str(out), "--add", str(tmp_path / "ana.jsonl")).stdout
    again = mmpr("build", "--from-rollouts", str(out), "--out", str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    assert "1 mark counted (marks.jsonl)" in again.stdout + again.stderr
    chosen = {(p["question_id"], p["chosen_index"]) for p in mmpr_pipeline.load(str(tmp_path / "again"))}
    assert chosen
    assert (pair["question_id"], pair["chosen_index"]) not in chosen
    next((out / "images").iterdir()).unlink()
    assert mmpr("verify", str(out)).returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ["show", "x", "-n", "-1"],
        ["report", "x", "--pairs", "-1"],
        ["publish", "x", "--repo", "a/b", "--files", "0"],
        ["sources", "preview", "nano_grid", "-n", "0"],
        ["sources", "check", "nano_grid", "--rows", "-5"],
    ],
)
def test_a_number_out_of_range_is_refused_before_any_work(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


def test_a_question_that_nobody_answers_ends_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "init", str(tmp_path / "new")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "With --yes none is asked" in done.stderr
    assert "Traceback" not in done.stderr


def test_lines_that_are_no_cases_are_named(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text('{"a": 1}\nbad\n{"prediction": "3", "gold": "3"}\n')
    result = CliRunner().invoke(app, ["check", str(tmp_path / "cases.jsonl")])
    assert "2 lines hold no usable case" in result.output
    assert "torn line 1" in result.output


def test_a_field_that_no_declaration_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "What?", "answer": "3"}\n')
    out = ["--out", str(tmp_path / "a.yaml"), "--yes"]
    result = CliRunner().invoke(app, ["sources", "add", str(tmp_path / "rows.jsonl"), "--column", "anser=answer", *out])
    assert "No field is called anser; did you mean answer" in str(result.exception)


HOSTILE = {"id": "a[/b]\x1b[31m", "question": "Q[/red]\x1b[2J?", "answer": "[/b]\x1b[31m", "options": "one[/y]"}


@pytest.mark.parametrize(("command", "status"), [("add", 0), ("check", 1), ("preview", 0)])
def test_rows_neither_mark_up_nor_steer_the_terminal(command: str, status: int, tmp_path: Path) -> None:
    rows = [
        {**HOSTILE, "id": f"{HOSTILE['id']}{number}", "question": f"{HOSTILE['question']}{number}"}
        for number in range(12)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "rows.yaml"
    words = ["sources", "add", str(tmp_path / "rows.jsonl"), "--out", str(out), "--yes"]
    result = CliRunner().invoke(app, words)
    if command != "add":
        assert result.exit_code == 0
        result = CliRunner().invoke(app, ["sources", command, str(out)])
    assert result.exit_code == status, result.output
    assert "[/b]" in result.output
    assert "\x1b" not in result.output


def test_names_of_cases_are_no_markup(tmp_path: Path) -> None:
    case = {"id": "x[/b]", "source": "[/b]", "prediction": "3", "gold": "3"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(case))
    result = CliRunner().invoke(app, ["check", str(tmp_path / "cases.jsonl")])
    assert (result.exit_code, result.exception) == (0, None)
    assert "[/b]" in result.output
