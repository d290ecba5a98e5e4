"""A process that ends an engine's children when its actor is gone, however that ended.

The workers of a tensor-parallel engine are processes of their own. Where the actor is killed, or ended by the heartbeat
because native code hangs, they can live on, stuck in that same code, and hold the memory of their GPUs: the engine that
is started next then finds none. So the actor puts itself at the head of a process group, which its children inherit,
and a small guardian outside of the group waits for the actor's end and kills the rest of the group.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

# It runs without this package, its imports or site-packages: a few MB, and up in milliseconds.
_GUARD = """
import os, signal, sys, time
actor, group = int(sys.argv[1]), int(sys.argv[2])
while os.getppid() == actor:
    time.sleep(0.2)
for _ in range(20):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        break
    time.sleep(0.1)
"""


def guard_children() -> subprocess.Popen[bytes]:
    """Let all children that this process makes from now on end with it. Call it once, before an engine is loaded."""
    with contextlib.suppress(PermissionError):  # the leader of a session is at the head of its group already
        os.setpgid(0, 0)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(os.getpgid(0))],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
