"""One look at a build, from its output alone: how far it is, and whether it runs, was stopped, was killed, or failed.

Whether a process is at work is what the lease says; what it does, and how its last run ended, is what its progress file
says.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Literal, cast

from mmpr_pipeline.core.errors import DatasetError, StoreError
from mmpr_pipeline.core.logs import FOLDER
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import checked_rollouts
from mmpr_pipeline.dataset.files.sealed import read_config, read_summary
from mmpr_pipeline.dataset.files.summary import finished_shards
from mmpr_pipeline.engines.engine import EngineStatsFields
from mmpr_pipeline.pipeline.watch.progress_file import (
    KEY,
    Measurement,
    ProgressWord,
    engine_deaths,
    last_lines,
    read_log_lines,
    tokens_per_second,
)
from mmpr_pipeline.storage import MissingKeyError, Store

State = Literal["running", "stopped", "killed", "failed", "unfinished", "finished"]
"""unfinished: no process is at work, and none left word of how it ended."""

SILENT_SECONDS = 60.0
"""A build at work that says nothing for so long hangs, or its store does."""


@dataclass(frozen=True)
class SourceSeen:
    """What the present run has done of one source."""

    name: str
    questions: int
    paired: int
    correct: int
    checked: int
    """Rollouts that were checked."""
    rejects: dict[str, int] = field(default_factory=dict)
    """Questions without a pair by reason."""


@dataclass(frozen=True)
class BuildStatus:
    """One look at a build."""

    state: State
    shards: int
    """0: not known yet."""
    finished: int
    stage: str = ""
    """What a running build is doing."""
    why: str = ""
    """Of a failed run: its error."""
    since: float | None = None
    """Seconds that the present or last run has taken."""
    questions: int = 0
    rows: int = 0
    """Questions that the present run has to do."""
    pairs: int = 0
    rollouts: int = 0
    tokens: int = 0
    silent_for: float = 0.0
    """Seconds since the build's last word."""
    tokens_per_second: float | None = None
    """Over the last few seconds, of engines or of finished questions, whichever is known."""
    busy: float | None = None
    """Share of the engines' time, over the last few seconds, in which they had requests; None without engine actors."""
    engines: int = 0
    in_flight: int = 0
    restarts: int = 0
    waiting: int = 0
    """Engines that are waited for: without a place, loading, or being started again."""
    lost: int = 0
    """Engines that were given up."""
    kv_use: float = 0.0
    preemptions: int = 0
    prefix_hits: float | None = None
    """Share of prompt tokens that were in the prefix cache, since the start."""
    left: float | None = None
    """Seconds until the end at the pace of the present run; None while that would be a guess."""
    rejects: dict[str, int] = field(default_factory=dict)
    """Questions without a pair by reason."""
    sources: tuple[SourceSeen, ...] = ()
    done: tuple[int, ...] = ()
    """Numbers of the finished shards."""
    at_work: dict[int, float] = field(default_factory=dict)
    """Shards that are being made, and the share of their questions that is done."""
    points: tuple[tuple[float, float, int], ...] = ()
    """Time, tokens a second and requests in flight, over the last minutes."""
    deaths: dict[str, int] = field(default_factory=dict)
    """Deaths of engines by cause, as far as the logs tell."""
    log: tuple[str, ...] = ()
    """The last lines of the logs, where these are on this machine."""


def read_status(store: Store, now: float | None = None) -> BuildStatus:
    """What the output tells. Raises DatasetError where there is no build, or its settings or summary are damaged."""
    held, word, shards = store.is_held(), _word(store), _shards(store)
    if shards is None and not held and not word:
        raise DatasetError(f"{store.url} holds no build.", remedy="Give the --out of `mmpr build`.")
    if store.exists(layout.SUMMARY) and not held:
        return _finished(store, shards or 0)
    done = finished_shards(store)
    shards = shards or int(word.get("shards", 0))
    ended = word.get("ended")
    state: State = "running" if held else ended["how"] if ended else "killed" if word else "unfinished"
    if held and ended:  # a run begins, and has not said anything yet
        word = {}
    try:
        return _unfinished(store, state, word, shards, done, time.time() if now is None else now)
    except (LookupError, TypeError, ValueError, AttributeError):  # a damaged word
        return BuildStatus(state, shards, len(done), done=tuple(done))


def _word(store: Store) -> ProgressWord:
    try:
        found = json.loads(store.read(KEY))
    except (MissingKeyError, StoreError, ValueError):
        return {}
    return cast(ProgressWord, found) if isinstance(found, dict) else {}


def _shards(store: Store) -> int | None:
    try:
        shards = read_config(store).get("config", {}).get("shards")
    except (MissingKeyError, LookupError, TypeError, ValueError):
        return None
    return shards if isinstance(shards, int) else None


def _finished(store: Store, shards: int) -> BuildStatus:
    summary = read_summary(store)
    counts = summary["counts"]
    sources = tuple(
        SourceSeen(
            name,
            each["questions"],
            each["paired"],
            each["rollouts"].get("correct", 0),
            checked_rollouts(each["rollouts"]),
            {**each["unpaired"], **each["rejected"]},
        )
        for name, each in summary["sources"].items()
    )
    return BuildStatus(
        "finished",
        shards,
        shards,
        since=summary.get("run", {}).get("seconds"),
        questions=counts["questions"],
        rows=counts["questions"],
        pairs=sum(counts["pairs"].values()),
        rollouts=sum(counts["rollouts"].values()),
        tokens=counts["generated_tokens"],
        rejects={**counts["unpaired"], **counts["rejected"]},
        sources=sources,
        done=tuple(range(shards)),
    )


def _unfinished(
    store: Store, state: State, word: ProgressWord, shards: int, done: list[int], now: float
) -> BuildStatus:
    tally, engine = word.get("tally", {}), word.get("engine", {})
    last: Measurement = {"now": word.get("now", now), "tally": tally, "engine": engine}
    before: Measurement = word.get("before", {})
    until = now if state == "running" else word.get("said", now)
    questions, rows = tally.get("questions", 0), word.get("rows", 0)
    each = word["rows"] / max(word["missing"], 1) if word.get("rows") else 0.0
    at_work = {
        int(name.removeprefix("shard/")): min(1.0, count / each) if each else 0.0
        for name, count in tally.items()
        if name.startswith("shard/")
    }
    silent_for = max(0.0, now - word.get("said", now))
    left = word.get("left") if state == "running" and silent_for <= SILENT_SECONDS else None
    log = read_log_lines(store.folder / FOLDER) if store.folder else []
    return BuildStatus(
        state,
        shards,
        len(done),
        stage=str(word.get("stage", "starting")),
        why=str(word["ended"]["why"]) if "ended" in word else "",
        since=until - word["started"] if "started" in word else None,
        questions=questions,
        rows=rows,
        pairs=tally.get("pairs", 0),
        rollouts=tally.get("rollouts", 0),
        tokens=tally.get("tokens", 0),
        silent_for=silent_for,
        tokens_per_second=tokens_per_second(last, before),
        busy=_busy(engine, before.get("engine", {})),
        engines=engine.get("actors", 0),
        in_flight=engine.get("in_flight", 0),
        restarts=engine.get("restarts", 0),
        waiting=engine.get("waiting", 0),
        lost=engine.get("lost", 0),
        kv_use=engine.get("kv_use", 0.0),
        preemptions=engine.get("preemptions", 0),
        prefix_hits=engine["cached_tokens"] / engine["prompt_tokens"] if engine.get("prompt_tokens") else None,
        left=max(0.0, left - (now - word["now"])) if left is not None else None,
        rejects={name.removeprefix("why/"): count for name, count in tally.items() if name.startswith("why/")},
        sources=_sources(tally),
        done=tuple(done),
        at_work={shard: share for shard, share in at_work.items() if shard not in set(done)},
        points=tuple((float(at), float(rate), int(flight)) for at, rate, flight in word.get("points", [])),
        deaths=engine_deaths(log),
        log=last_lines(log),
    )


def _sources(tally: dict[str, int]) -> tuple[SourceSeen, ...]:
    found: dict[str, dict[str, int]] = {}
    rejects: dict[str, dict[str, int]] = {}
    for name, count in tally.items():
        if not name.startswith("by/"):
            continue
        source, what, *reason = name.removeprefix("by/").split("/", 2)
        (rejects if reason else found).setdefault(source, {})[reason[0] if reason else what] = count
    return tuple(
        SourceSeen(
            name,
            each.get("questions", 0),
            each.get("paired", 0),
            each.get("correct", 0),
            each.get("checked", 0),
            rejects.get(name, {}),
        )
        for name, each in sorted(found.items())
    )


_Used = Literal["sequence_seconds", "busy_seconds"]
_Possible = Literal["capacity_seconds", "alive_seconds"]


def _busy(now: EngineStatsFields, before: EngineStatsFields) -> float | None:
    """Rollouts decoded over those that could be; of engines that do not tell, the time with a request in flight."""
    measured: tuple[tuple[_Used, _Possible], ...] = (
        ("sequence_seconds", "capacity_seconds"),
        ("busy_seconds", "alive_seconds"),
    )
    for part, whole in measured:
        possible = now.get(whole, 0.0) - before.get(whole, 0.0)
        used = now.get(part, 0.0) - before.get(part, 0.0)
        if possible > 0 and (used > 0 or part == "busy_seconds"):
            return float(min(1.0, max(0.0, used / possible)))
    return None
