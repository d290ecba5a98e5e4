"""`mmpr study --check` is a bench: its exit status says whether the headline holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mmpr_pipeline.cli import app
from mmpr_pipeline.study import run
from tests.chaos.processes import MARK, marked

ROOT = Path(__file__).resolve().parents[2]


def results(*claims: tuple[str, bool]) -> dict[str, Any]:
    found = {"mean": 0.05, "low": 0.01, "high": 0.09}
    headline = [
        {"name": name, "what": name, "difference": found, "better": 3, "worse": 1, "held": held}
        for name, held in claims
    ]
    mean = {"all": {"mean": found}, "of_seeds": [0.5]}
    tables = {"losses": [{"label": "base", "seeds": 1, "cot": mean}]}
    return {"headline": headline, "tables": tables, "config": {"seeds": [0]}, "steps": {"done": 1, "of": 1}}


@pytest.mark.parametrize(
    ("claims", "status"),
    [((("mpo_cot", True),), 0), ((("mpo_cot", False), ("mpo_direct", True)), 1), ((), 1)],
    ids=["held", "not held", "not measured"],
)
def test_the_status_is_the_headline(
    claims: tuple[tuple[str, bool], ...], status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "run_study", lambda config, told: results(*claims))
    asked = ["study", str(ROOT / "examples" / "study-small.yaml"), "--out", str(tmp_path)]
    assert CliRunner().invoke(app, [*asked, "--check"]).exit_code == status
    assert CliRunner().invoke(app, asked).exit_code == 0


def test_steps_lists_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    example = ROOT / "examples" / "study.yaml"
    listed = CliRunner().invoke(app, ["study", str(example), "--out", str(tmp_path / "out"), "--steps"])
    assert listed.exit_code == 0, listed.output
    lines = listed.output.split()
    assert "s2/measure-mpo-3x-round2" in lines
    assert "done" not in lines
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_study_in_the_background_stops_by_a_signal_and_leaves_no_process(number: int, tmp_path: Path) -> None:
    small, out = ROOT / "examples" / "study-small.yaml", tmp_path / "out"
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "study", str(small), "--out", str(out), "--jobs", "1"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what runs in its background
    try:
        study = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: str(out)})
    finally:
        signal.signal(signal.SIGINT, before)
    log = out / "steps" / "base" / "log.txt"
    until = time.monotonic() + 60
    while not log.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    study.send_signal(number)
    told, _ = study.communicate(timeout=60)
    assert study.returncode == 130
    assert "the same command goes on" in told
    assert log.is_file(), "it was stopped within a step"
    assert not [title for title in marked(str(out)).values() if str(out) in title]
