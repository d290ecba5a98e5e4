"""Local folders: the cache, and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Where downloads and converted copies lie: `MMPR_CACHE`, or `mmpr` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MMPR_CACHE") or Path(base) / "mmpr")


@contextmanager
def atomic_folder(target: Path, *, alone: bool = False) -> Iterator[Path]:
    """A new folder beside `target`, hidden until the work in it is done: then it becomes `target`, else it is removed.

    `target` must not exist, or be an empty folder. `alone`: no other process writes it at the same time, so that what a
    killed one left is removed.
    """
    partial = target.parent / f".unfinished-{target.name if alone else uuid.uuid4().hex}"
    if alone:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
