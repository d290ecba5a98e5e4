"""What a build says of itself beside its output, for `mmpr top` and `mmpr view`: a progress file, and its logs.

The progress file is one small hidden key, there from the first second on, written every few seconds and deleted when
the dataset is finished. A run that stops says so in it; one that was killed leaves its last word. Whether a build runs
is told by its lease, never by this file, and nothing is decided by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
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


TAIL_BYTES = 256_000
FILES = 64
"""Logs that are looked at, those written last."""

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ ([A-Z]+) \d+ ([\w.]+): (.*)")
_DEATH = re.compile(r"Engine (\d+) (\w+) with \d+ rollouts")
_SAME_DEATH = timedelta(seconds=10)
"""Every worker that misses an engine says so; it died once."""


LogLine = tuple[str, str, str, str]
"""Time, level, logger and text."""


def read_log_lines(folder: Path) -> list[LogLine]:
    """The lines at the ends of all logs together, oldest first."""
    return sorted((line for path in _newest(folder) for line in _lines(path)), key=lambda line: line[0])


def last_lines(lines: Sequence[LogLine], number: int = 6) -> tuple[str, ...]:
    """The last lines as one shows them: `12:30:05 warning engines.pool.lives: …`. What Python warns of, deprecations of
    other packages mostly, stays in the logs."""
    own = [line for line in lines if line[2] != "py.warnings"]
    return tuple(
        f"{at[11:]} {level.lower()} {name.removeprefix('mmpr_pipeline.')}: {text}"
        for at, level, name, text in own[-number:]
    )


def engine_deaths(lines: Sequence[LogLine]) -> dict[str, int]:
    """Deaths of engines by cause."""
    met = sorted(
        (int(found[1]), found[2], datetime.fromisoformat(at))
        for at, _, _, text in lines
        if (found := _DEATH.match(text))
    )
    deaths: Counter[str] = Counter()
    last: tuple[int, str, datetime] | None = None
    for engine, cause, at in met:
        if last is None or last[:2] != (engine, cause) or at - last[2] > _SAME_DEATH:
            deaths[cause] += 1
        last = engine, cause, at
    return dict(deaths.most_common())


def _newest(folder: Path) -> list[Path]:
    try:
        entries = [(entry.stat().st_mtime, entry.path) for entry in os.scandir(folder) if entry.name.endswith(".log")]
    except OSError:
        return []
    return [Path(path) for _, path in sorted(entries, reverse=True)[:FILES]]


def _lines(path: Path) -> list[LogLine]:
    """The lines at a log's end; lines that go on from others are left out."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [(f[1], f[2], f[3], f[4]) for line in text.splitlines() if (f := _LINE.fullmatch(line))]
