"""Whether the holder of a lease is dead is said only where it can be seen."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mmpr_pipeline.storage.holder import seen_alive, seen_dead, this_process

pytestmark = pytest.mark.skipif(not this_process().get("boot"), reason="this machine does not tell its processes")


def test_this_process_is_seen_alive() -> None:
    assert seen_alive(this_process())
    assert not seen_dead(this_process())


def test_an_ended_process_is_seen_dead_even_as_a_zombie_or_under_a_number_used_again() -> None:
    code = "import json; from mmpr_pipeline.storage.holder import this_process; print(json.dumps(this_process()))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    holder = json.loads(process.stdout.read())
    process.stdout.close()
    while not seen_dead(holder):  # a zombie by now, or about to be one
        assert process.returncode is None
    process.wait()
    assert seen_dead(holder)
    assert seen_dead({**this_process(), "started": "1"}), "another process has this number now"


@pytest.mark.parametrize(
    "holder",
    [
        None,
        "text",
        {},
        {"pid": 1},
        {**this_process(), "boot": "another machine"},
        {**this_process(), "processes": 1},
        {**this_process(), "pid": "1"},
        {**this_process(), "started": ""},
    ],
)
def test_of_processes_elsewhere_nothing_is_said(holder: object) -> None:
    assert not seen_alive(holder)
    assert not seen_dead(holder)
