"""kill -9 of the driver in the middle of a build, and Ctrl-C: the same command goes on, and no byte differs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.pipeline.made import files_of, make_source

pytestmark = pytest.mark.slow


def start(config: Path) -> subprocess.Popen[str]:
    """`mmpr build CONFIG` as a process of its own."""
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "build", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def write_config(folder: Path, source: Path, out: str, **script: object) -> Path:
    settings = {
        "sources": [str(source)],
        "out": str(folder / out),
        "shards": 3,
        "in_flight": 2,
        "engine": {"name": "scripted", "actors": 1, "script": {"log": str(folder / f"{out}.log"), **script}},
    }
    path = folder / f"{out}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def journalled(out: Path) -> Counter[str]:
    """Every step that the journal holds whole, as the engine's log writes it."""
    steps: Counter[str] = Counter()
    for segment in (out / "journal").rglob("*"):
        for line in segment.read_bytes().splitlines(keepends=True) if segment.is_file() else ():
            if line.endswith(b"\n"):
                entry = json.loads(line.partition(b" ")[2])
                steps[f"{entry['question']} {entry['step']}"] += 1
    return steps


def served(log: Path) -> int:
    """Requests that engines have served, over all runs."""
    return len(log.read_text().splitlines()) if log.exists() else 0


def wait_for(log: Path, lines: int, process: subprocess.Popen[str]) -> None:
    """Wait until the engine has served so many requests."""
    deadline = time.monotonic() + 120
    while served(log) < lines:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the build makes nothing"
        time.sleep(0.05)


def wait_for_quiet(log: Path) -> None:
    """Wait until the killed run's processes are gone too: what they still journal counts as kept."""
    deadline, before = time.monotonic() + 60, -1
    while served(log) != before:
        assert time.monotonic() < deadline, "the killed build goes on"
        before = served(log)
        time.sleep(2.0)


def test_kill_and_interrupt_lose_nothing_repeat_nothing_and_change_no_byte(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=60, open_ended=6)
    whole = start(write_config(tmp_path, source, "whole"))
    output = whole.communicate(timeout=180)[0]
    assert whole.returncode == 0, output

    config = write_config(tmp_path, source, "broken", latency=0.15)
    log, out = tmp_path / "broken.log", tmp_path / "broken"
    kept: Counter[str] = Counter()
    for more, blow in ((15, signal.SIGKILL), (15, signal.SIGINT)):
        before = served(log)
        process = start(config)
        wait_for(log, before + more, process)
        os.kill(process.pid, blow)
        text = process.communicate(timeout=60)[0]
        if blow is signal.SIGINT:
            assert process.returncode == 130, text
            assert "the same command goes on" in text
        wait_for_quiet(log)
        then = Counter(log.read_text().splitlines())
        kept |= Counter({step: then[step] for step in journalled(out)})
    assert sum(kept.values()) >= 30 - 2 * 3 * 2
    last = start(config)
    text = last.communicate(timeout=180)[0]
    assert last.returncode == 0, text
    assert files_of(out) == files_of(tmp_path / "whole")
    made = Counter(log.read_text().splitlines())
    again = {step for step, times in kept.items() if made[step] > max(times, 1)}
    assert again == set(), "a journalled rollout was generated again"
    assert set(made) == set((tmp_path / "whole.log").read_text().splitlines())
