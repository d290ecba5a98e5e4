"""Work in progress, for the viewer: a build's progress and newest rollouts, read from its output alone, and a training
run's metrics, settings and samples of the model's responses, read from its folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import DatasetError, StoreError
from mmpr_pipeline.core.files import sound_lines
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.pipeline.watch.status import read_status
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.storage.store import Store

TAIL_BYTES = 200_000
NEWEST = 8


def progress(store: Store) -> dict[str, Any] | None:
    """`state` (as `mmpr top` names it), `stage`, `questions`, `rows` of the present run, `pairs`, `tokens`,
    `tokens_per_second`, `left` (seconds, where known), `running`; None where the store cannot be read."""
    try:
        seen = read_status(store)
    except (StoreError, DatasetError):
        return None
    kept = ("state", "stage", "questions", "rows", "pairs", "tokens", "left")
    shown = {name: getattr(seen, name) for name in kept}
    return {**shown, "tokens_per_second": seen.tokens_per_second or 0.0, "running": seen.state == "running"}


def newest_rollouts(store: Store, number: int = NEWEST) -> list[dict[str, Any]]:
    """The last rollouts in the journals of unfinished shards, newest first: question_id, index, round, text, tokens,
    model. Only what a local output holds: on an object store nothing is listed that often."""
    if store.folder is None:
        return []
    segments = []
    for path in (store.folder / layout.JOURNALS).glob("*/*.jsonl"):
        with contextlib.suppress(OSError):  # its shard was finished meanwhile
            segments.append((path.stat().st_mtime, path))
    found: list[dict[str, Any]] = []
    for _, path in sorted(segments, reverse=True)[:4]:
        for entry in reversed(_last_entries(path)):
            rollouts = entry.get("rollouts") or []
            found += [{name: r.get(name) for name in ("question_id", "index", "round", "text", "tokens", "model")}
                      for r in reversed(rollouts[-2:]) if isinstance(r, dict)]  # fmt: skip
            if len(found) >= number:
                return found[:number]
    return found


def _last_entries(path: Path) -> list[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).split(b"\n")
    except OSError:
        return []
    entries = []
    for line in lines[1 if size > TAIL_BYTES else 0 : -1]:  # the first may be cut, the last is not whole
        with contextlib.suppress(ValueError):
            entry = json.loads(line[line.find(b"{") :])  # behind its checksum, which resuming needs, not looking
            if isinstance(entry, dict):
                entries.append(entry)
    return entries


METRICS, SAMPLES, REJECTS, HELD_OUT = "metrics.jsonl", "samples.jsonl", "rejects.jsonl", "held_out.jsonl"
CONFIG, SUMMARY = "run.json", "summary.json"
"""Files of a run: one step a line; one sampled response a line (`step`, `question`, `text`, and what else is known,
such as `outcome`, `answer` and `prompt`); the pairs left out; its settings; its
totals, written last."""
MOST_SAMPLES = 2000


def is_run(out: str | Path) -> bool:
    """Whether this is the folder of a training run."""
    return "://" not in str(out) and ((Path(out) / METRICS).is_file() or (Path(out) / CONFIG).is_file())


class Run:
    """One run, read anew whenever it is asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.name = self.folder.name

    def overview(self) -> dict[str, Any]:
        """`settings`, `running`, `seconds` since the last step was written, `rejects`: the pairs left out, `held_out`:
        what was measured at checkpoints."""
        try:
            settings = json.loads((self.folder / CONFIG).read_text("utf-8"))
        except (OSError, ValueError):
            settings = {}
        held = open_store(self.folder).is_held()
        written = self.folder / (METRICS if (self.folder / METRICS).is_file() else CONFIG)
        since = max(0.0, time.time() - written.stat().st_mtime)
        running = held
        rejects = lines_of(self.folder / REJECTS)[0]
        held_out = [
            {name if name == "step" else f"held_out/{name}": value for name, value in line.items()}
            for line in lines_of(self.folder / HELD_OUT)[0]
        ]
        state = {"settings": settings, "running": running, "seconds": since, "rejects": rejects[:200]}
        return {**state, "held_out": held_out}

    def metrics(self, start: int) -> dict[str, Any]:
        """Whole lines from byte `start` on, and the byte to go on from. A file that has shrunk was cut back by a run
        that went on from a checkpoint: then all lines come, and `anew` is true."""
        lines, end = lines_of(self.folder / METRICS, start)
        anew = end < start
        if anew:
            lines, end = lines_of(self.folder / METRICS)
        return {"lines": lines, "next": end, "anew": anew}

    def samples(self) -> list[dict[str, Any]]:
        """The last samples, in the order of writing."""
        return lines_of(self.folder / SAMPLES)[0][-MOST_SAMPLES:]


def lines_of(path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """JSON objects of the whole lines from byte `start` on, and the byte behind the last of them; the file's size where
    it is shorter than `start`. A torn or damaged line is left out."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if size < start:
                return [], size
            file.seek(start)
            raw = file.read()
    except OSError:
        return [], 0
    whole = raw[: raw.rfind(b"\n") + 1]
    return sound_lines(whole, lambda name: None), start + len(whole)
