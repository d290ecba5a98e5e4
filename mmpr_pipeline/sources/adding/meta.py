"""InternVL's `meta.json`: for each of many sources a file of rows and a folder of images, as its trainers read it.

    {"NAME": {"root": "MMPR/images/NAME", "annotation": "MMPR/annotations/NAME.jsonl", "repeat_time": 1, ...}, ...}

Paths there start where the trainer ran; here they are looked for from the file's folder on, and from those around it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, SourceError
from mmpr_pipeline.models.messages import MOST_TILES
from mmpr_pipeline.sources.adding.draft import Draft, draft_found, draft_source
from mmpr_pipeline.sources.adding.images import image_paths
from mmpr_pipeline.sources.adding.look import Found, read_sample
from mmpr_pipeline.sources.adding.release import Release, address_fields, image_archive_names, meta_of, open_release
from mmpr_pipeline.sources.adding.table import source_name
from mmpr_pipeline.sources.files.formats import SourceFile

AROUND = 3
"""Folders, from that of the file on, in which a path may start."""

MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class MetaEntry:
    """One source of a `meta.json` or of a release; `rows` and `images` are None where nothing is at the path named.

    `file` are the rows where they lie in a release, which has the archives of its images.
    """

    name: str
    meta: Mapping[str, Any]
    rows: Path | None
    images: Path | None
    release: Release | None = None
    file: SourceFile | None = None


def meta_entries(target: str) -> list[MetaEntry]:
    """The sources that a `meta.json`, a folder of a release or a release on the Hub has; none where it is neither."""
    path = Path(target)
    if path.is_dir() or not path.exists():
        return _released(target)
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return []
    meta = meta_of(path.read_bytes())
    if meta is None:
        return []
    names = _names(list(meta))
    entries = [
        MetaEntry(names[key], entry, _found(path, entry["annotation"], folder=False), _found(path, entry["root"]))
        for key, entry in meta.items()
    ]
    if all(entry.rows and entry.images for entry in entries) or not (release := open_release(target)):
        return entries
    return [entry if entry.rows and entry.images else _of_release(entry.name, entry.meta, release) for entry in entries]


def _released(target: str) -> list[MetaEntry]:
    try:
        release = open_release(target)
    except SourceError:
        return []  # whoever looks at it as an ordinary data set says what is wrong
    if release is None:
        return []
    entries = {key: entry for meta in release.metas for key, entry in meta.items()}
    if not entries:
        stems = {name: PurePosixPath(name).stem for name in release.rows}
        names = _names(list(release.rows), stems)
        return [MetaEntry(names[key], {}, None, None, release, file) for key, file in release.rows.items()]
    names = _names(list(entries))
    return [_of_release(names[key], entry, release) for key, entry in entries.items()]


def _of_release(name: str, entry: Mapping[str, Any], release: Release) -> MetaEntry:
    images = None
    if release.folder:
        parts = PurePosixPath(entry["root"]).parts
        tails = (release.folder.joinpath(*parts[start:]) for start in range(parts[:1] == ("/",), len(parts)))
        images = next((tail for tail in tails if tail.is_dir()), None)
    return MetaEntry(name, entry, None, images, release, release.find_rows(entry["annotation"]))


def draft_entry(entry: MetaEntry, folder: Path, columns: Mapping[str, str] | None = None) -> Draft:
    """The declaration of one source, to be written into a folder. Raises ConfigError or SourceError."""
    if entry.rows is None and entry.file is None:
        damaged = f" {' '.join(entry.release.damaged)}" if entry.release else ""
        raise ConfigError(
            f"There is no {entry.meta['annotation']}.{damaged}", remedy="Fetch it, or the archive that has it."
        )
    fields: dict[str, object] = {}
    if entry.images:
        fields["image_root"] = Path(os.path.relpath(entry.images, folder)).as_posix()
    tiles = entry.meta.get("max_dynamic_patch")
    if isinstance(tiles, int) and 1 <= tiles <= MOST_TILES:
        fields["tiles"] = tiles
    place = folder / f"{entry.name}.yaml"
    if entry.rows is None:
        # The declaration of a file of rows that lies in a release, with the archives that its images lie in.
        release, file = entry.release, entry.file
        assert release is not None
        assert file is not None
        if place.exists():
            raise ConfigError(f"{place} is there already.", remedy="Give another file with --out, or delete that one.")
        found = Found(f"{release.place} ({PurePosixPath(file.name).stem})", address_fields(release, file, place.parent))
        found.why["hub" if release.hub else "files"] = "read where it lies"
        read_sample(found, [file])
        doubts = [*_doubts(entry), *release.damaged]
        if "image_root" not in fields and (paths := image_paths(found.rows)):
            where = release.find_images(str(entry.meta.get("root", "")), paths)
            if where is None:
                doubts.append(f"No archive has {paths[0]}: its rows have no images.")
            fields["archives"] = image_archive_names(release, place.parent)
            fields |= {
                key: value
                for key, value in zip(("image_root", "image_prefix"), where or ("", ""), strict=True)
                if value
            }
        return draft_found(found, place, entry.name, columns, fields=fields, doubts=doubts)
    return draft_source(str(entry.rows), entry.name, place, columns, fields=fields, doubts=_doubts(entry))


def _doubts(entry: MetaEntry) -> list[str]:
    """How to take a source as often as its trainer does, where that is not once."""
    times = entry.meta.get("repeat_time")
    if not isinstance(times, int | float) or times == 1:
        return []
    share = f":{times:g}" if times < 1 else f"*{round(times)}"
    return [f"meta.json takes it {times:g} times: `--sources {entry.name}{share}` does so."]


def _names(keys: list[str], called: Mapping[str, str] | None = None) -> dict[str, str]:
    """A name that declarations may have for each key, none twice."""
    names: dict[str, str] = {}
    for key in keys:
        name = source_name((called or {}).get(key, key))[:56] or "source"
        taken = names.values()
        names[key] = next(
            one for n in range(1, len(keys) + 1) if (one := name if n == 1 else f"{name}_{n}") not in taken
        )
    return names


def _found(meta: Path, path: str, folder: bool = True) -> Path | None:
    """Where a path leads, from the folder of the file on, or from one around it."""
    starts = islice([meta.resolve().parent, *meta.resolve().parent.parents], AROUND)
    places = [start / path for start in starts] if "\0" not in path else []
    return next((place for place in places if (place.is_dir() if folder else place.is_file())), None)
