"""A disk too small, or one that fills up: told with the remedy, nothing half-written, and the same bytes with space."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `full_disk` saw on a tmpfs that only its own processes see."""
    work = tmp_path_factory.mktemp("full")
    disk = work / "disk"
    disk.mkdir()
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system of his own")
    script = 'mount -t tmpfs none "$1" && exec "$2" -m tests.chaos.full_disk "$0" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, str(work), str(disk), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_disk_that_is_too_small_is_told_and_a_larger_one_goes_on(seen: dict[str, Any]) -> None:
    *failed, last = seen["tries"]
    assert len(failed) >= 5
    for one in failed:
        assert "No space left on device" in one["error"]
        assert "Free some space" in one["error"]
        assert "goes on" in one["error"]
    assert {"journal" in one["error"] for one in failed} == {True, False}, "journals and shards have met a full disk"
    assert last["error"] == ""
    assert last["digest"] == seen["reference"]


def test_nothing_half_written_is_ever_to_be_seen(seen: dict[str, Any]) -> None:
    whole = seen["tries"][-1]["sizes"]
    for one in seen["tries"]:
        assert one["unfinished"] == []
        assert one["sizes"].items() <= whole.items(), "a file is there whole or not at all"
        assert sum(key.startswith("manifests/") for key in one["sizes"]) == one["finished"]


def test_a_build_whose_disk_fills_up_stops_with_the_remedy_and_goes_on_with_space(seen: dict[str, Any]) -> None:
    driver = seen["driver"]
    assert driver["status"] == 1
    assert "No space left on device" in driver["said"]
    assert "Free some space" in driver["said"]
    assert "Traceback" not in driver["said"]
    assert driver["journals"] > 0, "what was made before is kept"
    assert driver["problems"] == ["unfinished"], "the summary is the driver's"
    assert driver["digest"] == seen["reference"]
