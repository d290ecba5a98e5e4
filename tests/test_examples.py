"""The loop on one's own images: what it prepares is a source that `mmpr` reads, and every command it gives is one."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from mmpr_pipeline.cli import app

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def given_by(script: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[list[str]]:
    """The words of each `mmpr` command that the script would run, in its order."""
    given: list[list[str]] = []

    def note(command: list[str], **_: Any) -> None:
        assert command[:3] == [sys.executable, "-m", "mmpr_pipeline.cli"]
        given.append(command[3:])

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", note)
        patched.setattr(sys, "argv", [str(script), *arguments])
        runpy.run_path(str(script), run_name="__main__")
    return given


def test_own_images_goes_through_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = given_by(EXAMPLES / "own_images.py", monkeypatch)
    assert [words[0] for words in given] == [
        "sources", "build", "build", "verify", "show", "stats", "train", "plot", "eval",
    ]  # fmt: skip
    for words in given:
        parsed(words)
    learn, ask = (tmp_path / "out/own-images" / name for name in ("learn.jsonl", "ask.jsonl"))
    assert (len(learn.read_text().splitlines()), len(ask.read_text().splitlines())) == (40, 10)


def parsed(words: list[str]) -> None:
    """Parses a command with its flags as click does, without running it; raises a UsageError that names the flag."""
    command: Any = get_command(app)
    while getattr(command, "commands", None):
        command, words = command.commands[words[0]], words[1:]
    with command.make_context(command.name, list(words)):
        pass


def test_own_images_makes_a_source_whose_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given_by(EXAMPLES / "own_images.py", monkeypatch)
    for part, rows in (("learn", 40), ("ask", 10)):
        checked = CliRunner().invoke(app, ["sources", "check", f"{tmp_path}/out/own-images/my_{part}.yaml"])
        assert checked.exit_code == 0, checked.output
        assert f"golds accepted by the checker    {rows} of {rows}" in checked.output
