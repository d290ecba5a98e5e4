"""What a running build says of itself beside its output, for `mmpr top`.

One small hidden key, written over every few seconds and deleted at the end: a build that was killed leaves its last
word there. It decides nothing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.engines.engine import EngineStats
from mmpr_pipeline.storage import Store

if TYPE_CHECKING:
    from mmpr_pipeline.pipeline.plans.base import Plan

KEY = layout.PROGRESS
EVERY = 5.0
"""Seconds between two words."""


class ProgressFile:
    """Writes the progress of one run of a build."""

    def __init__(self, store: Store, plan: Plan, missing: list[int]) -> None:
        num_shards = plan.config.shards
        self._store = store
        self._fixed = {
            "started": time.time(),
            "shards": num_shards,
            "missing": len(missing),
            "rows": plan.rows * len(missing) // num_shards,
        }
        self._last: dict[str, Any] = {}
        self._next = time.monotonic()

    def show(self, finished: int, tally: dict[str, int], engine: Callable[[], EngineStats]) -> None:
        """Write how far the build is, if it is time to. A store that fails now is not worth an error."""
        if time.monotonic() < self._next:
            return
        stats = {}
        with contextlib.suppress(Exception):  # an engine that cannot be asked now is none of this file's business
            stats = asdict(engine())
        word = {**self._fixed, "now": time.time(), "finished": finished, "tally": dict(tally), "engine": stats}
        with contextlib.suppress(StoreError):
            self._store.write(KEY, json.dumps({**word, "before": self._last}).encode())
        self._last = {name: word[name] for name in ("now", "tally", "engine")}
        self._next = time.monotonic() + EVERY

    def end(self) -> None:
        """The run came to its end."""
        with contextlib.suppress(StoreError):
            self._store.delete(KEY)
