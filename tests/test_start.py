"""`mmpr doctor` and `mmpr init`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmpr_pipeline.cli.app import COMMANDS, app, load, renamed
from mmpr_pipeline.cli.start.missing import advice
from mmpr_pipeline.pipeline.config import load_config


def test_doctor_says_that_a_token_is_there_and_never_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_SecretOfTheTests")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    lines = {line["name"]: line for line in json.loads(done.output)}
    assert "hf_Secret" not in done.output
    assert lines["Hub token"]["state"] == "ok"
    assert lines["network"]["state"] == "warn"
    assert {"Python", "vllm", "ray", "GPU", "disk"} <= lines.keys()


def test_init_writes_settings_that_a_build_takes(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    words = ["init", str(folder), "--yes", "--sources", "nano_grid", "--model", "org/name", "--limit", "20"]
    assert CliRunner().invoke(app, words).exit_code == 0
    config = load_config(folder / "build.yaml", {})
    assert (config.sources, config.limit, config.engine.model) == (("nano_grid",), 20, "org/name")
    assert CliRunner().invoke(app, words).exit_code == 1, "nothing is written over"


def test_the_list_of_commands_names_commands_that_exist() -> None:
    for name in COMMANDS:
        assert load(name).help, name


def test_old_names_of_options_work_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert renamed("train", ["pairs", "--run-dir=x"]) == ["pairs", "--out=x"]
    assert "--out now" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_brings_it() -> None:
    assert "pip install 'mmpr-pipeline[train]'" in str(advice(ModuleNotFoundError("x", name="torch.nn")))
    assert advice(ModuleNotFoundError("x", name="nothing_of_ours")) is None
