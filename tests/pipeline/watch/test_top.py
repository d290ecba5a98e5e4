"""`mmpr top` and the progress that a build leaves for it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.pipeline.watch.progress_file import KEY
from mmpr_pipeline.pipeline.watch.top import read_status, status_text
from mmpr_pipeline.storage import open_store
from tests.pipeline.made import make_source


def begun(out: Path, **word: object) -> Path:
    """An output whose build wrote a word at second 1,010, having begun at second 1,000."""
    store = open_store(out)
    store.write("config.json", json.dumps({"digest": "", "identity": {}, "config": {"shards": 4}}).encode())
    base = {"started": 1000.0, "now": 1010.0, "shards": 4, "missing": 3, "rows": 300, "finished": 1}
    tally = {"questions": 100, "pairs": 70, "tokens": 9000, "why/all_correct": 20, "why/poison": 1}
    store.write(KEY, json.dumps({**base, "tally": tally, "engine": {}, **word}).encode())
    return out


def shown(out: Path, now: float) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(status_text(read_status(open_store(out), now)))
    return console.export_text()


def test_a_running_build_says_when_it_ends_and_what_it_lost(tmp_path: Path) -> None:
    out = begun(tmp_path)
    seen = read_status(open_store(out), 1012.0)
    assert (seen.state, seen.left) == ("running", 20.0)
    assert seen.tokens_per_second == 900.0
    assert seen.busy is None
    text = shown(out, 1012.0)
    assert "100/300 questions, 20s left" in text
    assert text.index("all_correct") < text.index("poison")


def test_idle_engines_are_seen_over_the_last_seconds_not_over_the_whole_run(tmp_path: Path) -> None:
    engine = {"actors": 2, "in_flight": 3, "restarts": 1, "tokens": 5000, "busy_seconds": 95.0, "alive_seconds": 120.0}
    past = {"now": 1005.0, "tally": {}, "engine": {"tokens": 4000, "busy_seconds": 94.0, "alive_seconds": 110.0}}
    seen = read_status(open_store(begun(tmp_path, engine=engine, before=past)), 1010.0)
    assert seen.busy == pytest.approx(0.1)
    assert seen.tokens_per_second == pytest.approx(200)
    assert "2 engines  10% busy, 3 requests in flight, 200 tokens/s, 1 restarts" in shown(tmp_path, 1010.0)


def test_a_killed_build_falls_silent(tmp_path: Path) -> None:
    begun(tmp_path)
    assert read_status(open_store(tmp_path), 1100.0).state == "silent"
    assert "the same command goes on" in shown(tmp_path, 1100.0)
    open_store(tmp_path).delete(KEY)
    assert read_status(open_store(tmp_path)).state == "stopped"


def test_no_build_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="What to do"):
        read_status(open_store(tmp_path))


@pytest.mark.slow
def test_a_real_build_is_seen_while_it_runs_and_leaves_nothing(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=40, open_ended=4)
    out, config = tmp_path / "out", tmp_path / "config.yaml"
    engine = {"name": "scripted", "actors": 1, "script": {"latency": 0.5, "fail_on": ["q1"]}}
    config.write_text(
        json.dumps({"sources": [str(source)], "out": str(out), "shards": 2, "in_flight": 1, "engine": engine})
    )
    command = [sys.executable, "-m", "mmpr_pipeline.cli"]
    build = subprocess.Popen([*command, "build", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        seen = None
        deadline = time.monotonic() + 150
        while build.poll() is None and time.monotonic() < deadline:
            if (out / KEY).exists() and (found := read_status(open_store(out))).questions and found.busy is not None:
                seen = found
                break
            time.sleep(0.2)
        assert seen is not None, build.communicate()[0]
        assert seen.state == "running"
        assert (seen.rows, seen.engines) == (44, 1)
        assert seen.busy > 0.5  # type: ignore[operator]
        assert build.wait(timeout=150) == 0
    finally:
        build.kill()
    assert not (out / KEY).exists()
    assert verify(out).ok
    done = subprocess.run([*command, "top", str(out)], capture_output=True, text=True, check=True)
    assert "finished  2/2 shards" in done.stdout
    assert "prompt_too_long" in done.stdout
