"""The local cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where downloads and converted copies lie: `MMPR_CACHE`, or `mmpr` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MMPR_CACHE") or Path(base) / "mmpr")
