"""An engine in the process of a command prints into a log, and the command to the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from rich.console import Console
from mmpr_pipeline.cli.progress import quiet_engine, shown

with quiet_engine(Console(force_terminal=True, width=80)) as terminal, shown(terminal, redirects=False) as progress:
    progress("sampling", 1, 2)
    print("noise of Python")
    print("noise on stderr", file=sys.stderr)
    os.write(1, b"noise of C")
    os.write(2, b"noise of C on stderr")
    terminal.print("said")
    if len(sys.argv) > 1:
        raise ValueError("broken")
print("after")
"""


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], env={"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_what_an_engine_prints_does_not_reach_the_terminal(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "noise" not in done.stdout + done.stderr
    assert "said" in done.stdout
    assert done.stdout.endswith("after\n")
    assert list(tmp_path.iterdir()) == [], "nothing is left of it"


def test_where_it_fails_the_log_is_kept_and_named(tmp_path: Path) -> None:
    done = run(tmp_path, "fail")
    assert "ValueError: broken" in done.stderr
    (log,) = tmp_path.iterdir()
    assert str(log) in done.stdout.replace("\n", "")
    text = log.read_text()
    for line in ("noise of Python", "noise on stderr", "noise of C", "noise of C on stderr"):
        assert line in text
