"""An actor's children end with it: here with a plain process in its place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmpr_pipeline.engines.actors.actor import SharedLock

PARENT = """
import subprocess, sys, time
if sys.argv[1] == "guarded":
    from mmpr_pipeline.engines.actors.actor import guard_children
    guard_children()
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
children = [subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) for _ in range(2)]
for child in children:
    child.stdout.readline()
print(*(child.pid for child in children), flush=True)
if sys.argv[2] == "exits":
    import os
    os._exit(70)
time.sleep(60)
"""


def lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("how", ["killed", "killed while its children are stopped", "exits"])
@pytest.mark.parametrize("guarded", [True, False])
def test_children_end_with_their_parent_where_they_are_guarded(how: str, guarded: bool) -> None:
    command = [sys.executable, "-c", PARENT, "guarded" if guarded else "alone", how]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    try:
        assert len(children) == 2
        if "stopped" in how:
            for child in children:
                os.kill(child, signal.SIGSTOP)
        if how != "exits":
            parent.kill()
        parent.wait(10)
        deadline = time.monotonic() + (10 if guarded else 2)
        while any(map(lives, children)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert any(map(lives, children)) == (not guarded)
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


async def test_many_pass_together_and_one_alone() -> None:
    gate, inside, seen = SharedLock(), 0, []

    async def shared() -> None:
        nonlocal inside
        async with gate.shared():
            inside += 1
            await asyncio.sleep(0.01)
            seen.append(("shared", inside))
            inside -= 1

    async def solo() -> None:
        async with gate.exclusive():
            seen.append(("alone", inside))
            await asyncio.sleep(0.03)
            seen.append(("alone", inside))

    await asyncio.gather(shared(), shared(), solo(), shared(), solo(), shared())
    assert [n for kind, n in seen if kind == "alone"] == [0, 0, 0, 0]
    assert max(n for kind, n in seen if kind == "shared") >= 2


async def test_giving_up_waiting_lets_others_pass() -> None:
    gate = SharedLock()
    async with gate.shared():
        waiting = asyncio.create_task(gate.exclusive().__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(gate.shared().__aenter__(), timeout=1)
