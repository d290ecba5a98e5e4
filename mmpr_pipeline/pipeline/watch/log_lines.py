"""What the logs of an output say last, and of what its engines died. Reads the ends of files only."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

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
