"""InternVL's `meta.json`: for each of many sources a file of rows and a folder of images, as its trainers read it.

    {"NAME": {"root": "MMPR/images/NAME", "annotation": "MMPR/annotations/NAME.jsonl", "repeat_time": 1, ...}, ...}

Paths there start where the trainer ran; here they are looked for from the file's folder on, and from those around it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.sources.adding.draft import Draft, draft_source
from mmpr_pipeline.sources.adding.names import source_name
from mmpr_pipeline.sources.declaration.schema import MOST_TILES

AROUND = 3
"""Folders, from that of the file on, in which a path may start."""

MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class MetaEntry:
    """One source of a `meta.json`. `rows` and `images` are None where nothing is at the path that is told."""

    name: str
    told: Mapping[str, Any]
    rows: Path | None
    images: Path | None


def meta_entries(target: str) -> list[MetaEntry]:
    """The sources that a file names; none where it is no `meta.json`."""
    path = Path(target)
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return []
    try:
        told = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        return []
    if not isinstance(told, dict) or not told or not all(map(_is_entry, told.values())):
        return []
    names = _names(list(told))
    return [
        MetaEntry(names[key], entry, _found(path, entry["annotation"], folder=False), _found(path, entry["root"]))
        for key, entry in told.items()
    ]


def draft_entry(entry: MetaEntry, folder: Path, given: Mapping[str, str] | None = None) -> Draft:
    """The declaration of one source, to be written into a folder. Raises ConfigError or SourceError."""
    if entry.rows is None:
        raise ConfigError(f"There is no {entry.told['annotation']}.", remedy="Unpack it beside meta.json.")
    told: dict[str, Any] = {}
    if entry.images:
        told["image_root"] = Path(os.path.relpath(entry.images, folder)).as_posix()
    tiles = entry.told.get("max_dynamic_patch")
    if isinstance(tiles, int) and 1 <= tiles <= MOST_TILES:
        told["tiles"] = tiles
    place = folder / f"{entry.name}.yaml"
    return draft_source(str(entry.rows), entry.name, place, given, told=told, doubts=_doubts(entry))


def _doubts(entry: MetaEntry) -> list[str]:
    """How to take a source as often as its trainer does, where that is not once."""
    times = entry.told.get("repeat_time")
    if not isinstance(times, int | float) or times == 1:
        return []
    share = f":{times:g}" if times < 1 else f"*{round(times)}"
    return [f"meta.json takes it {times:g} times: `--sources {entry.name}{share}` does so."]


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("root", "annotation"))


def _names(keys: list[str]) -> dict[str, str]:
    """A name that declarations may have for each key, none twice."""
    names: dict[str, str] = {}
    for key in keys:
        name = source_name(key)[:56] or "source"
        taken = names.values()
        names[key] = next(
            one for n in range(1, len(keys) + 1) if (one := name if n == 1 else f"{name}_{n}") not in taken
        )
    return names


def _found(meta: Path, told: str, folder: bool = True) -> Path | None:
    """Where a path leads, from the folder of the file on, or from one around it."""
    starts = islice([meta.resolve().parent, *meta.resolve().parent.parents], AROUND)
    places = [start / told for start in starts] if "\0" not in told else []
    return next((place for place in places if (place.is_dir() if folder else place.is_file())), None)
