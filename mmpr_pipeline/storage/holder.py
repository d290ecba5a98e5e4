"""Who holds a lease, and whether it can be seen from here that it is dead.

A process is named so that no other one, on this machine or elsewhere, before or after, has the same name. Where the
machine does not tell these things (no /proc), nothing can be seen and the caller waits instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def this_process() -> dict[str, str | int]:
    """This process: the machine's boot, the namespace of its process numbers, its number, and when it started."""
    pid = os.getpid()
    return {**_place(), "pid": pid, "started": _started(pid) or ""}


def seen_dead(holder: Any) -> bool:
    """Whether the holder is a process of this machine that has ended."""
    return _is_here(holder) and not seen_alive(holder)


def seen_alive(holder: Any) -> bool:
    """Whether the holder is a process of this machine that goes on."""
    return _is_here(holder) and _started(holder["pid"]) == holder["started"]


def _is_here(holder: Any) -> bool:
    place = _place()
    return (
        bool(place)
        and isinstance(holder, dict)
        and {name: holder.get(name) for name in place} == place
        and isinstance(holder.get("pid"), int)
        and bool(holder.get("started"))
    )


def _place() -> dict[str, str | int]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return {"boot": boot, "processes": os.stat("/proc/self/ns/pid").st_ino}
    except OSError:
        return {}


def _started(pid: int) -> str | None:
    """The clock tick at which a process started; None where there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
