from __future__ import annotations

import json
from pathlib import Path

from starlette.testclient import TestClient

from mmpr_pipeline.report.viewer.live import Run, is_run
from mmpr_pipeline.report.viewer.server import make_app
from mmpr_pipeline.storage import open_store


def a_run(folder: Path, steps: int = 5) -> Path:
    folder.mkdir()
    lines = [
        {"step": step, "steps": 9, "loss": 1.0 / (step + 1), "pairs": 4, "memory_gib": 31.5} for step in range(steps)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "run.json").write_text('{"config": {"lr": 1e-6}}')
    return folder


def test_only_new_lines_come_and_a_torn_one_waits(tmp_path: Path) -> None:
    run = Run(a_run(tmp_path / "run"))
    first = run.metrics(0)
    assert [line["step"] for line in first["lines"]] == [0, 1, 2, 3, 4]
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 5}\n{"step"')
    second = run.metrics(first["next"])
    assert [line["step"] for line in second["lines"]] == [5]
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write(': 6, "loss": NaN}\n')
    assert run.metrics(second["next"])["lines"] == [{"step": 6, "loss": None}]


def test_a_file_that_a_resumed_run_cut_back_comes_anew(tmp_path: Path) -> None:
    run = Run(a_run(tmp_path / "run"))
    end = run.metrics(0)["next"]
    lines = (run.folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run.folder / "metrics.jsonl").write_text("".join(lines[:2]))
    found = run.metrics(end)
    assert (found["anew"], len(found["lines"])) == (True, 2)


def test_a_run_is_told_from_a_dataset_and_served(tmp_path: Path, out: Path) -> None:
    folder = a_run(tmp_path / "run")
    assert (is_run(folder), is_run(out), is_run("s3://bucket/run")) == (True, False, False)
    (folder / "samples.jsonl").write_text('{"step": 0, "question": "q", "text": "t"}\n')
    browser = TestClient(make_app(Run(folder)), base_url="http://127.0.0.1:8123")
    assert "run.js" in browser.get("/").text
    assert browser.get("/api/run").json()["settings"] == {"config": {"lr": 1e-6}}
    (folder / "held_out.jsonl").write_text('{"step": 0, "accuracy": 0.5}\n')
    with open_store(folder).lease():
        found = browser.get("/api/run").json()
    assert found["running"]
    assert found["held_out"] == [{"step": 0, "held_out/accuracy": 0.5}]
    assert browser.get("/api/samples").json()[0]["text"] == "t"
    assert browser.get("/api/overview").status_code == 404
    (folder / "summary.json").write_text("{}")
    assert not browser.get("/api/run").json()["running"]
