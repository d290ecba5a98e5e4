"""`mmpr top`: whether the engines of a build are busy, what is rejected, when it ends; read from its output alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.sealed import read_sealed
from mmpr_pipeline.pipeline.watch.console import duration
from mmpr_pipeline.pipeline.watch.progress_file import EVERY, KEY
from mmpr_pipeline.storage import MissingKeyError, Store

SILENT = 12 * EVERY
"""Seconds after which a build that says nothing is taken for stopped."""


@dataclass(frozen=True)
class BuildStatus:
    """One look at a build."""

    state: str
    """running, silent, stopped or finished."""
    shards: int
    finished: int
    questions: int = 0
    rows: int = 0
    """Questions that the present run has to do."""
    pairs: int = 0
    silent_for: float = 0.0
    tokens_per_second: float | None = None
    """Over the last few seconds, of finished questions or of engines, whichever is known."""
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
    """Seconds until the end at the pace of the present run."""
    rejects: dict[str, int] = field(default_factory=dict)
    """Questions without a pair by reason."""


def read_status(store: Store, now: float | None = None) -> BuildStatus:
    """What the output tells; raises DatasetError where there is no build."""
    try:
        shards = int(read_sealed(store, layout.CONFIG)["config"]["shards"])
    except (MissingKeyError, LookupError, TypeError, ValueError):
        raise DatasetError(f"{store.url} holds no build.", remedy="Give the --out of `mmpr build`.") from None
    if store.exists(layout.SUMMARY):
        return _finished(read_sealed(store, layout.SUMMARY), shards)
    done = len(store.list("manifests/"))
    try:
        word = json.loads(store.read(KEY))
        return _running(word, shards, done, time.time() if now is None else now)
    except (MissingKeyError, ValueError, LookupError, TypeError, AttributeError):  # nobody's word, or a damaged one
        return BuildStatus("stopped", shards, done)


def _finished(summary: dict[str, Any], shards: int) -> BuildStatus:
    counts = summary["counts"]
    why: dict[str, int] = {**counts["unpaired"], **counts["rejected"]}
    return BuildStatus(
        "finished", shards, shards, counts["questions"], counts["questions"], sum(counts["pairs"].values()), rejects=why
    )


def _running(word: dict[str, Any], shards: int, done: int, now: float) -> BuildStatus:
    tally, engine = word["tally"], word["engine"]
    before = word.get("before") or {"now": word["started"], "tally": {}, "engine": {}}
    seconds = max(word["now"] - before["now"], 1e-3)
    silent = max(0.0, now - word["now"])
    questions, rows = tally.get("questions", 0), word["rows"]
    elapsed = max(word["now"] - word["started"], 1e-3)
    return BuildStatus(
        "running" if silent < SILENT else "silent",
        shards,
        done,
        questions,
        rows,
        tally.get("pairs", 0),
        silent,
        _growth(engine, before["engine"], "tokens", seconds) or _growth(tally, before["tally"], "tokens", seconds),
        _busy(engine, before["engine"]),
        engine.get("actors", 0),
        engine.get("in_flight", 0),
        engine.get("restarts", 0),
        engine.get("waiting", 0),
        engine.get("lost", 0),
        engine.get("kv_use", 0.0),
        engine.get("preemptions", 0),
        engine["cached_tokens"] / engine["prompt_tokens"] if engine.get("prompt_tokens") else None,
        elapsed * (rows - questions) / questions if questions else None,
        {name.removeprefix("why/"): count for name, count in tally.items() if name.startswith("why/")},
    )


def _growth(now: dict[str, Any], before: dict[str, Any], name: str, seconds: float) -> float | None:
    return max(0.0, now[name] - before.get(name, 0)) / seconds if name in now else None


def _busy(now: dict[str, Any], before: dict[str, Any]) -> float | None:
    """Rollouts decoded over those that could be; of engines that do not tell, the time with a request in flight."""
    for part, whole in (("sequence_seconds", "capacity_seconds"), ("busy_seconds", "alive_seconds")):
        of = now.get(whole, 0.0) - before.get(whole, 0.0)
        used = now.get(part, 0.0) - before.get(part, 0.0)
        if of > 0 and (used > 0 or part == "busy_seconds"):
            return float(min(1.0, max(0.0, used / of)))
    return None


def status_text(seen: BuildStatus) -> RenderableType:
    """The look as a person reads it."""
    lines = [f"[bold]{seen.state}[/]  {seen.finished}/{seen.shards} shards, {seen.pairs:,} pairs"]
    if seen.state in ("running", "silent"):
        ends = f"{duration(seen.left)} left" if seen.left is not None else "no question is finished yet"
        lines.append(f"this run  {seen.questions:,}/{seen.rows:,} questions, {ends}")
        busy = f"{seen.busy:.0%} busy, " if seen.busy is not None else ""
        rate = f"{seen.tokens_per_second:,.0f} tokens/s" if seen.tokens_per_second is not None else "no rate yet"
        where = f"{seen.engines} engines" if seen.engines else "engines in the workers"
        again = f", {seen.restarts} restarts" if seen.restarts else ""
        lines.append(f"{where}  {busy}{seen.in_flight} requests in flight, {rate}{again}")
        if seen.waiting or seen.lost:
            lines.append(
                f"[bold yellow]{seen.waiting} engines are waited for, {seen.lost} were given up[/] (see the log)"
            )
        if seen.prefix_hits is not None:
            cache = f"KV cache {seen.kv_use:.0%} full, {seen.preemptions:,} rollouts computed again"
            lines.append(f"{cache}, {seen.prefix_hits:.0%} of prompt tokens cached")
    if seen.state == "silent":
        lines.append(f"No word for {duration(seen.silent_for)}: if it was killed, the same command goes on from here.")
    if seen.state == "stopped":
        lines.append("No build runs here: the same `mmpr build` goes on from here.")
    table = Table(title="questions without a pair", title_justify="left", show_header=False, box=None)
    for reason, count in sorted(seen.rejects.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(reason, f"{count:,}")
    text = Text.from_markup("\n".join(lines))
    return Group(text, table) if seen.rejects else text
