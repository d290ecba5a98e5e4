"""`build --dry-run` with a Hub model where the Hub cannot be asked: what is known is planned, what is not is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.server import HubServer
from tests.pipeline.made import make_source

MODEL = "org/model-hf"


def dry_run(tmp_path: Path, endpoint: str, **more: str) -> subprocess.CompletedProcess[str]:
    source = make_source(tmp_path / "source", questions=10)
    words = ["build", "--sources", str(source), "--shards", "2", "--model", MODEL, "--out", str(tmp_path / "out")]
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "COLUMNS": "300", **more}
    return subprocess.run(
        [sys.executable, "-m", "mmpr_pipeline.cli", *words, "--dry-run"],
        env=env, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def shown_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for noise in ("thrown while", "Retry", "Errno", "Error", "Traceback", "check your connection"):
        assert noise not in done.stdout
    return done.stdout


@pytest.mark.parametrize("offline", [False, True])
def test_what_is_known_is_planned_and_the_size_of_the_model_is_not(tmp_path: Path, offline: bool) -> None:
    hub = HubServer()
    endpoint = hub.endpoint
    hub.close()  # nobody listens there now
    shown = shown_of(dry_run(tmp_path, endpoint, **({"HF_HUB_OFFLINE": "1"} if offline else {})))
    assert "10 questions, 2 shards, up to 320 rollouts and 104,000 generated tokens." in shown
    assert "with 1 engine of 1 GPU, at" in shown
    assert "Not known: the model's size" in shown
    assert ("HF_HUB_OFFLINE is set" if offline else "The Hub (127.0.0.1) cannot be reached") in shown
    assert f"`hf download {MODEL} config.json`" in shown
    assert not (tmp_path / "out").exists()


def test_a_model_that_a_hub_does_not_have_is_an_error(tmp_path: Path) -> None:
    hub = HubServer()
    try:
        done = dry_run(tmp_path, hub.endpoint)
    finally:
        hub.close()
    assert done.returncode == 1
    assert f"Cannot get the model '{MODEL}'" in done.stderr
    assert "Traceback" not in done.stderr
