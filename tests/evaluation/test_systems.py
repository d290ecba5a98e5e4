"""Every benchmark over the Hub's protocol in its real layout: rows found and read, asked, scored, summed up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.evaluation.benchmarks.catalog import known
from tests.evaluation.judge_server import JudgeServer
from tests.evaluation.systems import repositories, systems, write_coco
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow  # a process that imports `datasets`

MADE = systems()
_ALIGN = {"much better": ("[[A>>B]]", "[[B>>A]]"), "better": ("[[A>B]]", "[[B>A]]"), "tie": ("[[A=B]]", "[[A=B]]"),
          "worse": ("[[B>A]]", "[[A>B]]")}  # fmt: skip


def verdict(text: str, body: dict[str, Any]) -> str:
    """What the reply under judgement says that its verdict is; of preferences, told by the place of the answer."""
    said = text.partition("judge:")[2]
    for word, (as_a, as_b) in _ALIGN.items():
        if said.startswith(f"{word}\n"):
            return as_b if "reference" in text.partition("judge:")[0] else as_a
    return said.partition("\n\n[Task]")[0].removesuffix(" | ")


def evaluate(endpoint: str, folder: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the client came to for each job."""
    path = folder / "jobs.json"
    path.write_text(json.dumps(jobs))
    kept = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-m", "tests.evaluation.hub_client", str(path)],
        env={**os.environ, **kept},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return list(json.loads(ran.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    server = HubServer()
    server.repositories |= repositories(MADE)
    yield server
    server.close()


@pytest.fixture(scope="module")
def results(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of each benchmark, asked for direct answers."""
    folder = tmp_path_factory.mktemp("systems")
    write_coco(folder / "coco", MADE["object_halbench"].rows)
    with JudgeServer(verdict) as judge:
        jobs = [
            {
                "config": {
                    "benchmarks": [name],
                    "mode": "direct",
                    "engine": {"name": "scripted", "model": "told", "actors": 0},
                    "benchmark_data": str(folder / "coco"),
                    "resamples": 200,
                    "judge": {"engine": {"name": "openai", "model": "judge", "base_url": judge.url, "actors": 0}},
                },
                "replies": {"told": system.said()},
            }
            for name, system in MADE.items()
        ]
        answers = evaluate(hub.endpoint, folder, jobs)
    return {name: answer["results"]["benchmarks"][name] for name, answer in zip(MADE, answers, strict=True)}


def test_no_benchmark_is_left_out() -> None:
    assert set(MADE) == set(known())


@pytest.mark.parametrize("name", list(MADE))
def test_the_numbers_are_those_of_the_replies(name: str, results: dict[str, dict[str, Any]]) -> None:
    found = results[name]["modes"]["direct"]["models"]["told"]
    assert found["unreadable"] == {}
    assert found["not_scored"] == {}
    assert found["items"] == len(MADE[name].said())
    values = {metric: measure["value"] for metric, measure in found["measures"].items()}
    assert values == pytest.approx(MADE[name].expected)
    for breakdown, groups in MADE[name].by.items():
        told = {group: found["by"][breakdown][group]["value"] for group in groups}
        assert told == pytest.approx(groups), breakdown


def test_every_interval_holds_its_number(results: dict[str, dict[str, Any]]) -> None:
    for name, told in results.items():
        for metric, measure in told["modes"]["direct"]["models"]["told"]["measures"].items():
            assert measure["low"] <= measure["value"] + 1e-9, (name, metric)
            assert measure["value"] <= measure["high"] + 1e-9, (name, metric)


def test_judged_benchmarks_name_their_judge(results: dict[str, dict[str, Any]]) -> None:
    for name in ("mmvet", "llava_bench", "mmhal_bench", "mm_alignbench"):
        found = results[name]["modes"]["direct"]["models"]["told"]
        assert found["judge"].startswith("judge, "), name
        assert results[name]["official_judge"].startswith("gpt-4")
    assert results["mmhal_bench"]["modes"]["direct"]["models"]["told"]["unread_verdicts"] == 1
