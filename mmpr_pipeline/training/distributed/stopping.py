"""Asking a run to stop: by SIGTERM, by Ctrl-C, or by a file named `stop` in its directory.

The file is for processes that no signal reaches: workers of Ray Train, pods that a cluster takes away. The run answers
between two micro-batches, keeps its last finished step, and removes the file.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOP = "stop"
LOOK_EVERY = 1.0  # seconds
ECHO = 3.0
"""Seconds in which a second Ctrl-C is the echo of the first: a launcher passes on what the terminal sent already."""


class Stopped(Exception):
    """The run was asked to stop; what it was doing is given up."""


@contextmanager
def stop_requested(run: Path | None = None) -> Iterator[threading.Event]:
    """An event that is set when the run is asked to stop; with `run`, by the file in that directory as well.

    SIGTERM may come as often as it likes; a second Ctrl-C after some seconds ends the process at once.
    """
    event = threading.Event()
    asked = 0.0

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if event.is_set() and number == signal.SIGINT and time.monotonic() - asked > ECHO:
            raise KeyboardInterrupt
        if not event.is_set():
            asked = time.monotonic()
        event.set()

    before = {}
    if threading.current_thread() is threading.main_thread():  # launchers may run us in another one
        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    ended = threading.Event()

    def watch(run: Path) -> None:
        """By a listing: NFS remembers for a while that a name was absent."""
        while not ended.wait(LOOK_EVERY):
            if run.is_dir() and STOP in os.listdir(run):
                return event.set()

    if run:
        threading.Thread(target=watch, args=(run,), name="stop", daemon=True).start()
    try:
        yield event
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def ask_to_stop(run: Path) -> None:
    """Leave the file."""
    (run / STOP).touch()


def forget(run: Path) -> None:
    """Remove the file: it was obeyed, or was meant for an earlier start."""
    (run / STOP).unlink(missing_ok=True)
