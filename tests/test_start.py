"""`mmpr doctor` and `mmpr init`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmpr_pipeline.cli.app import COMMANDS, app, load, renamed
from mmpr_pipeline.cli.start.missing import advice
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.sources import open_source

ROOT = Path(__file__).parents[1]


def test_doctor_says_that_a_token_is_there_and_never_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_SecretOfTheTests")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    lines = {line["name"]: line for line in json.loads(done.output)}
    assert "hf_Secret" not in done.output
    assert lines["Hub token"]["state"] == "ok"
    assert lines["network"]["state"] == "warn"
    assert lines["network"]["found"].startswith("The Hub (127.0.0.1) cannot be reached (")
    assert {"Python", "vllm", "ray", "GPU", "disk"} <= lines.keys()


def test_init_writes_settings_that_a_build_takes(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    words = ["init", str(folder), "--yes", "--sources", "nano_grid", "--model", "org/name", "--limit", "20"]
    assert CliRunner().invoke(app, words).exit_code == 0
    config = load_config(folder / "build.yaml", {})
    assert (config.sources, config.limit, config.engine.model) == (("nano_grid",), 20, "org/name")
    assert CliRunner().invoke(app, words).exit_code == 1, "nothing is written over"


@pytest.fixture
def questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few questions of one's own, in the folder where one works; its name holds a space."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples" / "questions", tmp_path / "my questions")
    return Path("my questions") / "questions.jsonl"


def test_init_declares_ones_own_questions_and_asks_again_for_what_is_no_number(questions: Path) -> None:
    done = CliRunner().invoke(app, ["init", "charts"], input=f"{questions}\n\nmany\n12\n")
    assert done.exit_code == 0, done.output
    assert "of 16 rows tried, 16 are questions; the checker accepts 16 of 16 golds" in done.output
    config = load_config(Path("charts/build.yaml"), {})
    assert config.limit == 12
    assert config.sources == (str(Path("charts/questions.yaml").absolute()),)
    assert open_source(config.sources[0]).index(None).rows == 16
    assert CliRunner().invoke(app, ["init", "whole", "--yes", "--sources", str(questions.parent)]).exit_code == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a;b\n1;2\n", "`mmpr sources add rows.csv`: run it, and give init the declaration"),
        ("question,answer,image\nWhat is it?,3,none.png\n", "No row of rows.csv is a question yet"),
    ],
)
def test_init_says_how_to_declare_what_it_cannot_guess_and_leaves_nothing(
    questions: Path, rows: str, said: str
) -> None:
    Path("rows.csv").write_text(rows, "utf-8")
    done = CliRunner().invoke(app, ["init", "charts", "--yes", "--sources", "rows.csv"])
    assert done.exit_code == 1
    assert said in done.output + str(done.exception)
    assert not Path("charts").exists()


@pytest.mark.slow
def test_what_init_prints_runs_as_typed_to_a_built_output(questions: Path) -> None:
    """With the scripted engine in the place of a model's, as its user might write it into the settings."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def typed(line: str) -> str:
        words = [sys.executable, "-m", "mmpr_pipeline.cli", *shlex.split(line)[1:]]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    printed = typed(f"mmpr init 'my charts' --yes --limit 8 --sources '{questions}'").splitlines()
    commands = [line.strip() for line in printed if line.startswith("  mmpr ")]
    assert [shlex.split(line)[1] for line in commands] == ["sources", "build", "build", "show", "view", "train"]
    settings = Path("my charts/build.yaml")
    settings.write_text(settings.read_text("utf-8").replace("name: vllm", "name: scripted"), "utf-8")
    check, plan, build, show = map(typed, commands[:4])
    assert "16 of 16 rows looked at, 16 questions" in check
    assert "8 questions, 4 shards" in plan
    assert "Next  mmpr show 'my charts/pairs'" in build
    assert "chosen" in show
    assert verify("my charts/pairs").problems == []


def test_the_list_of_commands_names_commands_that_exist() -> None:
    for name in COMMANDS:
        assert load(name).help, name


def test_old_names_of_options_work_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert renamed("train", ["pairs", "--run-dir=x"]) == ["pairs", "--out=x"]
    assert "--out now" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_brings_it() -> None:
    assert "pip install 'mmpr-pipeline[train]'" in str(advice(ModuleNotFoundError("x", name="torch.nn")))
    assert advice(ModuleNotFoundError("x", name="nothing_of_ours")) is None
