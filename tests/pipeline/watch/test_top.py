"""`mmpr top`, and the progress that a build leaves for it: each state by what the lease and the last word say."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.engines.engine import EngineStats
from mmpr_pipeline.pipeline.watch.progress_file import KEY, ProgressFile, engine_deaths, last_lines, read_log_lines
from mmpr_pipeline.pipeline.watch.status import BuildStatus, SourceSeen, read_status
from mmpr_pipeline.pipeline.watch.top import spark, status_text
from mmpr_pipeline.storage import open_store
from tests.pipeline.made import make_source

COMMAND = [sys.executable, "-m", "mmpr_pipeline.cli"]


def begun(out: Path, **word: object) -> Path:
    """An output whose build wrote a word at second 1,030."""
    store = open_store(out)
    store.write("config.json", json.dumps({"digest": "", "identity": {}, "config": {"shards": 4}}).encode())
    base = {"started": 990.0, "left": 122.0, "now": 1030.0, "said": 1030.0, "stage": "sampling",
            "shards": 4, "missing": 3, "rows": 300, "finished": 1}  # fmt: skip
    tally = {"questions": 100, "pairs": 70, "tokens": 9000, "why/all_correct": 20, "why/poison": 1, "shard/2": 50,
             "by/maps-2d/questions": 60, "by/geo/questions": 40, "by/geo/paired": 20, "by/geo/correct": 30,
             "by/geo/checked": 120, "by/geo/why/all_correct": 20}  # fmt: skip
    store.write(KEY, json.dumps({**base, "tally": tally, "engine": {}, **word}).encode())
    return out


def page(seen: BuildStatus, width: int = 120) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(status_text(seen))
    return console.export_text()


def test_a_build_at_work_says_when_it_ends_and_what_it_lost(tmp_path: Path) -> None:
    store = open_store(begun(tmp_path))
    with store.lease():
        seen = read_status(store, 1032.0)
    assert (seen.state, seen.left, seen.since) == ("running", 120.0, 42.0)
    assert seen.at_work == {2: 0.5}
    geo = next(source for source in seen.sources if source.name == "geo")
    assert (geo.questions, geo.paired, geo.correct, geo.checked, geo.rejects) == (40, 20, 30, 120, {"all_correct": 20})
    text = page(seen)
    assert "100/300 questions" in text
    assert "about 2 min left" in text
    assert "25%" in text
    assert "goes on from here" not in text, "a second driver is advised"


def test_idle_engines_are_seen_over_the_last_seconds_not_over_the_whole_run(tmp_path: Path) -> None:
    engine = {"actors": 2, "in_flight": 3, "restarts": 1, "tokens": 5000, "busy_seconds": 95.0, "alive_seconds": 120.0}
    past = {"now": 1025.0, "tally": {}, "engine": {"tokens": 4000, "busy_seconds": 94.0, "alive_seconds": 110.0}}
    store = open_store(begun(tmp_path, engine=engine, before=past))
    with store.lease():
        seen = read_status(store, 1030.0)
    assert seen.busy == pytest.approx(0.1)
    assert seen.tokens_per_second == pytest.approx(200)
    assert "2 engines  10% busy  3 requests in flight  200 tokens/s" in page(seen)


@pytest.mark.parametrize(
    ("held", "word", "state", "advice"),
    [
        (True, {}, "running", None),
        (True, {"said": 900.0, "now": 900.0}, "running", "said nothing for"),
        (True, {"ended": {"how": "stopped", "why": "", "at": 1000.0}}, "running", None),
        (False, {}, "killed", "was killed"),
        (False, {"ended": {"how": "stopped", "why": "", "at": 1000.0}}, "stopped", "was stopped"),
        (False, {"ended": {"how": "failed", "why": "No GPU left.", "at": 1000.0}}, "failed", "No GPU left."),
    ],
)
def test_the_lease_says_whether_it_runs_and_the_last_word_how_it_ended(
    tmp_path: Path, held: bool, word: dict[str, Any], state: str, advice: str | None
) -> None:
    store = open_store(begun(tmp_path, **word))
    if held:
        with store.lease():
            seen = read_status(store, 1032.0)
    else:
        seen = read_status(store, 1032.0)
    assert seen.state == state
    assert (advice or "") in page(seen)
    assert ("goes on from here" in page(seen)) is not held


def test_without_a_word_nothing_is_made_up(tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    with pytest.raises(DatasetError, match="What to do"):
        read_status(store)
    with store.lease():  # the first second: not even its settings are written
        assert read_status(store).state == "running"
        assert read_status(store).shards == 0
    begun(tmp_path / "out")
    store.delete(KEY)
    assert read_status(store).state == "unfinished"
    store.write(KEY, b'{"started": "yesterday", "tally": 3}')
    assert read_status(store).shards == 4


def test_looking_keeps_nobody_from_claiming_the_output(tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    with store.lease():
        assert store.is_held()
    assert not store.is_held()
    assert not (tmp_path / "out").exists(), "an output in which nothing was begun leaves no trace"
    looker = subprocess.Popen(
        [sys.executable, "-c", "import sys\nfrom mmpr_pipeline.storage import open_store\n"
         "store = open_store(sys.argv[1])\nprint(flush=True)\nwhile True: store.is_held()", str(tmp_path)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert looker.stdout
        assert looker.stdout.readline()
        open_store(tmp_path).write("a", b"")
        for _ in range(40):
            with open_store(tmp_path).lease():
                pass
    finally:
        looker.kill()


def test_sparks_and_blocks_fit_80_columns(tmp_path: Path) -> None:
    assert spark([0, 4, 8]) == "▁▅█"
    assert spark([0, 0]) == "▁▁"
    points = tuple((1000.0 + i, float(i), i % 5) for i in range(90))
    many = BuildStatus(
        "running", 2048, 900, rows=10, questions=5, points=points, done=tuple(range(900)), at_work={901: 0.4}
    )
    for width in (80, 120):
        lines = page(many, width).splitlines()
        assert max(map(len, lines)) <= width
        assert sum("█" in line for line in lines) > 1


def test_no_name_and_no_reason_is_cut_at_80_columns(tmp_path: Path) -> None:
    reasons = {"same_as_chosen": 9, "no_correct": 2, "all_unparseable": 1}
    sources = tuple(SourceSeen(name, 48, 35, 30, 60, reasons) for name in ("nano_geometry", "nano_describe"))
    text = page(BuildStatus("finished", 8, 8, sources=sources), 80)
    assert "nano_geometry" in text
    assert "nano_describe" in text
    assert "…" not in text
    assert " ".join(text.split()).count("unparseable") == 2


def test_the_last_word_of_a_build_that_is_stopped_is_of_all_that_it_did(tmp_path: Path) -> None:
    store = open_store(begun(tmp_path))
    word = ProgressFile(store)
    for questions in (3, 17):
        word.show(0, {"questions": questions, "pairs": 2 * questions}, EngineStats)
    word.end("stopped")
    seen = read_status(store)
    assert (seen.state, seen.questions, seen.pairs) == ("stopped", 17, 34)


def test_a_word_tells_the_time_left_of_the_questions_whose_work_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(begun(tmp_path))
    word = ProgressFile(store)
    word._word |= {"rows": 1000, "shards": 4}
    word.stage("sampling")
    now = 5000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    said: list[float | None] = []
    for ended in range(121):
        word.show(0, {"questions": ended // 60, "work/done": ended, "work/at": 4}, EngineStats)
        said.append(json.loads(store.read(KEY))["left"])
        now += 1.0
    assert said[60] == pytest.approx(940, rel=0.05), "counted in the order of the rows, one would be done"
    assert said[:50] == [None] * 50, "said of less than a twentieth"
    word.stage("starting the vllm engine")
    assert json.loads(store.read(KEY))["left"] is None


def test_of_a_build_that_is_silent_no_time_is_said(tmp_path: Path) -> None:
    store = open_store(begun(tmp_path))
    with store.lease():
        assert read_status(store, 1100.0).left is None


def test_the_logs_tell_the_last_lines_and_the_deaths_of_engines_once(tmp_path: Path) -> None:
    line = "2026-01-01 10:00:0{},123 WARNING 7 mmpr_pipeline.engines.pool.lives: {}\n"
    died = "Engine 0 out_of_memory with 3 rollouts of this worker in flight. "
    (tmp_path / "worker-a.log").write_text(line.format(1, died) + line.format(5, "Engine 0 serves after 2.0 s"))
    warned = "2026-01-01 10:00:06,123 WARNING 7 py.warnings: /site/ray.py:1: FutureWarning: Tip\n"
    (tmp_path / "worker-b.log").write_text(line.format(2, died) + "  a line that goes on\n" + warned)
    lines = read_log_lines(tmp_path)
    assert engine_deaths(lines) == {"out_of_memory": 1}
    assert last_lines(lines, 2) == (
        f"10:00:02 warning engines.pool.lives: {died}",
        "10:00:05 warning engines.pool.lives: Engine 0 serves after 2.0 s",
    )
    assert last_lines(read_log_lines(tmp_path / "none")) == ()


def seen_by(command: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, command, str(out), *more], capture_output=True, text=True, timeout=120)


def top(out: Path) -> dict[str, Any]:
    done = seen_by("top", out, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Build:
    """A real build in a process of its own, slow enough to be looked at."""

    def __init__(self, folder: Path) -> None:
        source = make_source(folder / "source", questions=60, open_ended=4)
        self.out, self.config = folder / "out", folder / "config.yaml"
        engine = {"name": "scripted", "actors": 1, "script": {"latency": 0.4, "fail_on": ["q1"]}}
        settings = {"sources": [str(source)], "out": str(self.out), "shards": 8, "workers": 1, "in_flight": 2}
        self.config.write_text(json.dumps({**settings, "engine": engine}))
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [*COMMAND, "build", str(self.config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self.process

    def until(self, shards: int) -> BuildStatus:
        """Wait until so many shards are finished, and some questions of the next are done."""
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline:
            assert self.process
            assert self.process.poll() is None, self.process.communicate()[0]
            seen = read_status(open_store(self.out)) if open_store(self.out).is_held() else None
            if seen and seen.finished >= shards and seen.busy is not None and seen.questions:
                return seen
            time.sleep(0.1)
        raise AssertionError("the build makes nothing")


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    made = Build(tmp_path)
    yield made
    if made.process:
        made.process.kill()
        made.process.wait()


@pytest.mark.slow
@pytest.mark.campaign
def test_a_real_build_is_told_running_stopped_killed_and_finished(build: Build) -> None:
    process = build.start()
    deadline = time.monotonic() + 60
    while not (build.out.exists() and open_store(build.out).is_held()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert read_status(open_store(build.out)).state == "running", "from its first second"
    early = seen_by("stats", build.out)
    assert early.returncode == 1
    assert "A build is at work on it" in early.stderr
    seen = build.until(1)
    assert (seen.state, seen.rows, seen.engines) == ("running", 64, 1)
    assert seen.busy is not None, "the engines say how busy they are"
    assert {source.name for source in seen.sources} == {"made"}
    assert seen.log
    for command in ("stats", "show", "report"):
        more = ["--path", str(build.config.parent / "report.html")] if command == "report" else []
        done = seen_by(command, build.out, *more)
        assert done.returncode == 0, done.stderr
    assert "Not finished" in seen_by("stats", build.out).stdout
    assert "8 shards are finished" in (build.config.parent / "report.html").read_text()
    unfinished = seen_by("export", build.out, "--to", "trl", "--dest", str(build.config.parent / "trl"))
    assert unfinished.returncode == 1
    assert "wait for its end" in unfinished.stderr, "a second driver is advised"

    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "the same command goes on" in output
    assert top(build.out)["state"] == "stopped"
    assert "goes on from here" in seen_by("top", build.out).stdout

    process = build.start()
    build.until(2)
    process.kill()
    process.wait()
    assert top(build.out)["state"] == "killed"

    process = build.start()
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    assert top(build.out)["state"] == "finished"
    assert not (build.out / KEY).exists()
    assert verify(build.out).ok
    assert "prompt too long" in seen_by("top", build.out).stdout


@pytest.mark.slow
def test_a_build_that_cannot_begin_leaves_no_trace(build: Build) -> None:
    settings = json.loads(build.config.read_text())
    build.config.write_text(json.dumps({**settings, "sources": [str(build.out.parent / "nothing.yaml")]}))
    assert build.start().wait(timeout=60) == 1
    assert not build.out.exists()
