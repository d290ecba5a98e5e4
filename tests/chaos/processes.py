"""The processes of one campaign's builds: every one carries the campaign's mark in its environment, by inheritance."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

MARK = "MMPR_CHAOS"
TITLES = {"engine": "ray::EngineActor", "worker": "ray::_shard_task", "board": "ray::_MeteredBoard"}


def marked(mark: str) -> dict[int, str]:
    """Number and command line of every living process that carries the mark."""
    found = {}
    wanted = f"{MARK}={mark}\0".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if wanted in (folder / "environ").read_bytes() + b"\0":
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:  # it ended, or is another user's
                continue
    return {pid: title for pid, title in found.items() if title}  # a zombie has no command line


def of_kind(mark: str, kind: str) -> list[int]:
    """The engines, workers, boards or raylets of a campaign, by number."""
    processes = marked(mark).items()
    if kind == "raylet":
        return sorted(pid for pid, title in processes if title.split(" ")[0].endswith("/raylet"))
    return sorted(pid for pid, title in processes if title.startswith(TITLES[kind]))


def kill(pid: int) -> bool:
    """kill -9; False where the process had ended by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_for_workers_to_end(mark: str, seconds: float) -> float:
    """Seconds until a killed driver's engines and workers had ended by themselves; fails after so many."""
    began = time.monotonic()
    while any(of_kind(mark, kind) for kind in ("engine", "worker")):
        assert time.monotonic() < began + seconds, f"a killed build's processes live on: {marked(mark)}"
        time.sleep(0.1)
    return time.monotonic() - began


def kill_all(mark: str) -> None:
    """End whatever is left of a campaign."""
    for pid in marked(mark):
        kill(pid)
