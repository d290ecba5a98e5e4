"""The bar of a command, and quiet for it, as context managers."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from mmpr_pipeline.core.progress import ProgressBar


def shown(console: Console, *, redirects: bool = True) -> ProgressBar:
    """A bar on a terminal; elsewhere these commands say what they did, and not how far they are."""
    return ProgressBar(console, plain=False, redirects=redirects)


@contextmanager
def quiet_engine(console: Console) -> Iterator[Console]:
    """Send what an engine in this process prints, libraries in C among it, to a log; yields the console to write to.

    The log is kept, and named, where an error comes of it.
    """
    handle, name = tempfile.mkstemp(prefix="mmpr-engine-", suffix=".log")
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    own, kept = console, False
    if console.file is sys.stdout and sys.stdout is sys.__stdout__:
        terminal = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        own = Console(file=terminal, width=console.width, force_terminal=console.is_terminal)
    try:
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        yield own
    except Exception:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = Path(name).stat().st_size > 0  # a setting that was refused started no engine
        if kept:
            own.print(f"What the engine said: {name}", highlight=False, markup=False)
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if not kept:
            Path(name).unlink()
        for number, saved in zip((1, 2), before, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        os.close(handle)
        if own is not console:
            own.file.close()
