"""`mmpr build` says what decontamination would fetch, and on a terminal asks; what was begun keeps its commits."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.cli import build
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.pipeline.config import BuildConfig, load_config
from mmpr_pipeline.pipeline.plans import evaluation_sets
from mmpr_pipeline.pipeline.plans.evaluation_sets import fetch_sentence
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.sources.review.preview import show_source
from tests.hub.served import serve
from tests.pipeline.plans.test_screening_pass import made, rows

ROOT = Path(__file__).resolve().parents[2]
MISSING = {"mmmu_val": 3_200_000_000, "mmstar": 42_000_000}


def settings(out: Path, **given: Any) -> BuildConfig:
    return load_config(None, {"sources": ["geoqa"], "out": str(out), "engine.name": "scripted", **given})


@pytest.mark.parametrize(("terminal", "answer", "becomes"), [
    (True, "cached\n", "cached"), (True, "none\n", "none"), (True, "\n", "all"), (False, "", "all"),
])  # fmt: skip
def test_a_build_tells_what_it_would_fetch_and_asks_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, answer: str,
    becomes: str,
) -> None:  # fmt: skip
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(evaluation_sets, "to_fetch", lambda config: MISSING)
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
    agreed = build._agreed(settings(tmp_path / "out"))
    assert agreed.screening.decontaminate == becomes
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("Fetch all of them") == terminal
    assert (
        "2 evaluation sets that are not on this machine, 3.2 GB to fetch: mmmu_val (3.2 GB), mmstar (42.0 MB)" in said
    )


def test_what_pins_no_commit_says_so() -> None:
    assert "# not pinned: a build takes the newest commit, records it" in show_source("geoqa")
    assert "# not pinned" not in show_source("mathvista")  # pinned
    assert "# not pinned" not in show_source("nano_grid")  # not on the Hub


def test_what_is_said_already_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_sets, "to_fetch", lambda config: pytest.fail("nothing is to be asked for"))
    for choice in ("cached", "none"):
        chosen = settings(tmp_path, **{"screening.decontaminate": choice})
        assert build._agreed(chosen) == chosen


def test_nothing_is_to_fetch_where_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_sets, "bytes_to_fetch", lambda location, archives: 7)
    assert evaluation_sets.to_fetch(settings(tmp_path)).keys() >= {"mathvista", "mmmu_val"}
    own = str(made(tmp_path / "s", "own", rows(2), "evaluation"))
    for given in ({"sources": ["nano_grid"]}, {"sources": [own]}, {"screening.against": ["mathvista"]},
                  {"screening.decontaminate": "none"}):  # fmt: skip
        assert evaluation_sets.to_fetch(settings(tmp_path, **given)) == {}
    assert "mathvista" not in evaluation_sets.to_fetch(settings(tmp_path, sources=["geoqa", "mathvista"]))
    assert "--decontaminate cached" in fetch_sentence(MISSING)


def test_true_and_false_are_what_they_were(tmp_path: Path) -> None:
    assert settings(tmp_path, **{"screening.decontaminate": True}).screening.decontaminate == "ask"
    assert settings(tmp_path, **{"screening.decontaminate": False}).screening.decontaminate == "none"
    plans = [make_build_plan(settings(tmp_path, sources=["nano_grid"], limit=4, **{"screening.decontaminate": choice}))
             for choice in ("ask", "all", "cached", "none")]  # fmt: skip
    assert [group_of(plan.identity, "screening")["decontaminate"] for plan in plans] == [True, True, True, False]


BEGUN = """
import io, json, sys
from rich.console import Console
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.output import begun_with, claim_output
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.watch.console import BuildConsole
from mmpr_pipeline.storage import open_store

config = load_config(None, {"sources": ["geoqa"], "out": sys.argv[1], "engine.name": "scripted",
                            "screening.decontaminate": "none"})
plan = make_build_plan(config, begun_with(open_store(config.out)))
claim_output(open_store(config.out), plan)
said = io.StringIO()
with BuildConsole(Console(file=said, width=200)) as console:
    console.planned(plan, config.shards)
print(json.dumps([plan.digest, plan.sources[0].index.revision, said.getvalue()]))
"""


@pytest.mark.slow
def test_an_output_that_was_begun_keeps_the_commit_it_began_with(tmp_path: Path) -> None:
    """geoqa pins no commit: when the Hub has a newer one, the same command goes on with the old one."""
    server = serve({"geoqa": 4})
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip

    def plan(out: str) -> list[str]:
        command = [sys.executable, "-c", BEGUN, str(tmp_path / out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
        found: list[str] = json.loads(done.stdout.splitlines()[-1])
        return found

    try:
        first = plan("begun")
        commit = server.repositories["hz2475/geoQA"].head().sha
        noted = json.loads((tmp_path / "begun" / "config.json").read_text())["sources"][0]
        assert (first[1], noted["revision"]) == (commit, commit)
        assert f"which this output keeps to: geoqa {commit[:12]}" in first[2]
        server.repositories["hz2475/geoQA"].put({"later.txt": b"more"}, "later")
        assert plan("begun") == first
        other = plan("new")
        assert other[1] != first[1]
        assert other[0] != first[0]
    finally:
        server.close()
