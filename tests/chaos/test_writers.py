"""Training and publishing, killed while they write, in short (`python -m tests.chaos.writers` is the long form)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.writers import Writers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Writers:
    return Writers(tmp_path_factory.mktemp("writers"))


@pytest.mark.campaign
def test_training_that_is_killed_while_it_writes_comes_out_the_same(writers: Writers) -> None:
    assert writers.train(129).total() >= 2  # kills in reference columns, in a checkpoint and in the export


@pytest.mark.campaign
def test_publishing_that_is_killed_comes_out_the_same(writers: Writers) -> None:
    assert writers.publish(16).total() >= 1


@pytest.mark.campaign
def test_a_disk_that_fills_up_under_training_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system of his own")
    script = 'mount -t tmpfs none "$1" && exec "$2" -m tests.chaos.writers --full-disk "$0" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, str(tmp_path), str(disk), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["status"] == 1
    assert "the disk is full" in seen["said"]
    assert "Free some space" in seen["said"]
    assert seen["left"] == []
    assert seen["kept"] >= 1
    assert seen["same"]
