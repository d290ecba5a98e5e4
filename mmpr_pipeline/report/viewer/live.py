"""A build that goes on: what it says of its progress, and the newest rollouts, read from its output alone."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import DatasetError, StoreError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.pipeline.watch.status import read_status
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
