"""What a build says of itself beside its output, for `mmpr top` and `mmpr view`, from its first second on.

One small hidden key, written every few seconds and deleted when the dataset is finished. A run that stops says so in
it; one that was killed leaves its last word. Whether a build runs is told by its lease, never by this file, and nothing
is decided by it.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.progress import Pace
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.engines.engine import EngineStats, EngineStatsFields
from mmpr_pipeline.pipeline.watch.tally import worked
from mmpr_pipeline.storage import Store

if TYPE_CHECKING:
    from mmpr_pipeline.pipeline.plans.base import Plan

KEY = layout.PROGRESS
EVERY, EVERY_LOCAL = 5.0, 2.0
"""Seconds between two words, on an object store and on a disk."""

KEPT = 90
"""Measurement points that a word carries along, for whoever begins to look later."""


class Ending(TypedDict):
    """How a run ended before the dataset was finished."""

    how: Literal["stopped", "failed"]
    why: str
    at: float


class Measurement(TypedDict, total=False):
    """One measurement of a run: when, what was counted (see `Tally`), and what the engines say (see `EngineStats`)."""

    now: float
    tally: dict[str, int]
    engine: EngineStatsFields


class ProgressWord(Measurement, total=False):
    """The file's content. Times are seconds since the epoch; `rows` and `missing`: questions and shards to be done;
    `left`: seconds until the end, where that is known."""

    started: float
    stage: str
    shards: int
    missing: int
    rows: int
    finished: int
    left: float | None
    before: Measurement
    points: list[tuple[float, float, int]]
    said: float
    ended: Ending


class ProgressFile:
    """Writes the progress of one run of a build. A store that fails now is not worth an error."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._every = EVERY_LOCAL if store.folder else EVERY
        self._word: ProgressWord = {"started": time.time(), "stage": "starting"}
        self._last: Measurement = {}
        self._points: list[tuple[float, float, int]] = []
        self._pace = Pace()
        self._next = 0.0
        self._seen: tuple[int, dict[str, int]] | None = None
        """What was last to be shown, written or not: the last word is of it."""

    def stage(self, text: str) -> None:
        """A new stage begins."""
        self._word["stage"] = text
        self._pace, self._word["left"] = Pace(), None
        self._write()

    def planned(self, plan: Plan, missing: int) -> None:
        """It is known how much is to be done."""
        num_shards = plan.config.shards
        rows = plan.rows * missing // num_shards
        self._word |= {"shards": num_shards, "missing": missing, "rows": rows}
        self._write()

    def show(self, finished: int, tally: dict[str, int], engine: Callable[[], EngineStats]) -> None:
        """Write how far the build is, if it is time to."""
        self._seen = finished, dict(tally)
        done, at_work = worked(tally)
        self._pace.seen(done, self._word.get("rows", 0), time.monotonic(), at_work)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        stats: EngineStatsFields = {}
        with contextlib.suppress(Exception):  # an engine that cannot be asked now is none of this file's business
            stats = engine().plain()
        now: Measurement = {"now": time.time(), "tally": dict(tally), "engine": stats}
        if (rate := tokens_per_second(now, self._last)) is not None:
            self._points = [*self._points[1 - KEPT :], (now["now"], round(rate, 1), stats.get("in_flight", 0))]
        self._word |= {"now": now["now"], "tally": now["tally"], "engine": stats}
        left = self._pace.left(time.monotonic())
        self._word |= {"finished": finished, "before": self._last, "points": self._points, "left": left}
        self._last = now
        self._write()

    def end(self, how: Literal["stopped", "failed"], why: str = "") -> None:
        """The run ends before the dataset is finished."""
        if self._seen is not None:
            self._word["finished"], self._word["tally"] = self._seen
        self._word["ended"] = {"how": how, "why": why, "at": time.time()}
        self._write()

    def _write(self) -> None:
        with contextlib.suppress(StoreError):
            self._store.write(KEY, json.dumps({"now": time.time(), **self._word, "said": time.time()}).encode())


def tokens_per_second(now: Measurement, before: Measurement) -> float | None:
    """Tokens a second between two words, of the engines or of finished questions, whichever is known."""
    if not before:
        return None
    seconds = max(now["now"] - before["now"], 1e-3)
    for counted, earlier in ((now["engine"], before["engine"]), (now["tally"], before["tally"])):
        grown = counted.get("tokens", 0) - earlier.get("tokens", 0)
        if "tokens" in counted and grown > 0:
            return float(grown / seconds)
    return 0.0
