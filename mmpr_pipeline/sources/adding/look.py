"""What lies at a path or on the Hub: files of rows, archives and folders of images, a sample of rows."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, SourceError
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.sources.adding.table import IMAGE_NAME
from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration
from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS, HubLocation
from mmpr_pipeline.sources.files.formats import (
    COMPRESSED,
    EXTENSIONS,
    LocalFile,
    Scan,
    SourceFile,
    Unreadable,
    format_of,
)
from mmpr_pipeline.sources.files.hub import repository_files, resolve, told_of
from mmpr_pipeline.sources.images.archives import opened

SAMPLE = 200
"""Rows that are looked at."""

MAX_LISTED = 20_000
"""Files of a folder that are looked at."""

MOST_FURTHER = 6
"""Other files of rows of a folder that are looked at, where the likeliest has no questions or no golds."""

_SHARD = re.compile(r"\d{1,6}(?=\D*$)")
_OF = re.compile(r"-\d+-of-\d+")
_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass
class Found:
    """What was found: fields for the declaration, sample rows, and names of image files that rows may refer to.

    `folder` is where was looked, `root` the same as the declaration sees it, `beside` where the first file of rows is;
    `further` are other files of rows in the folder.
    """

    place: str
    fields: dict[str, Any]
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    archives: list[SourceFile] = field(default_factory=list)
    further: list[SourceFile] = field(default_factory=list)
    folder: Path | None = None
    beside: Path | None = None
    root: str = "."
    names: list[str] = field(default_factory=list)


def inspect_target(target: str, base: Path) -> Found:
    """What is at a path (paths of the declaration start at `base`), or in the Hub's data set of that id.

    Raises ConfigError where it is neither, SourceError where it has no rows that can be read.
    """
    path = Path(target)
    if path.exists():
        place, further = path, list[list[Path]]()
        if place.is_file():
            files, folder, others = [place], place.parent, list(place.parent.glob("*.zip"))
        else:
            folder = place
            every = sorted(islice((one for one in place.rglob("*") if one.is_file()), MAX_LISTED))
            files, *further = _sets_of_rows(every, place)
            others = [one for one in every if one.suffix.lower() == ".zip"]
        relative = [Path(os.path.relpath(file, base)).as_posix() for file in files]
        found = Found(folder.resolve().name if place.is_dir() else place.stem, {"files": _pattern(relative)})
        found.folder, found.beside = folder, files[0].parent
        found.root = Path(os.path.relpath(folder, base)).as_posix()
        found.why["files"] = "the file of rows" if len(files) == 1 else f"the {len(files)} files of rows"
        local = [LocalFile(file, name, file.stat().st_size) for file, name in zip(files, relative, strict=True)]
        read_sample(found, list(local))
        for one in others:
            found.archives.append(LocalFile(one, Path(os.path.relpath(one, base)).as_posix(), one.stat().st_size))
        for one, *more in further[:MOST_FURTHER]:
            if not more:
                found.further.append(LocalFile(one, Path(os.path.relpath(one, base)).as_posix(), one.stat().st_size))
        # Names of image files below a folder, as paths from there.
        names = []
        for place in islice(folder.rglob("*"), MAX_LISTED):
            if IMAGE_NAME.search(place.name):
                names.append(place.relative_to(folder).as_posix())
        found.names = names
        return found
    if is_hub_id(target):
        return _hub(target.removeprefix("hf://datasets/"))
    raise ConfigError(
        f"There is no file or folder {target}, and it is no id of a data set on the Hub.",
        remedy="Give a file of rows, a folder with one, or ORG/NAME.",
    )


def is_hub_id(target: str) -> bool:
    """Whether this may be the id of a data set on the Hub."""
    return _ID.fullmatch(target.removeprefix("hf://datasets/")) is not None


def _sets_of_rows(every: list[Path], folder: Path) -> list[list[Path]]:
    """The files of rows in a folder, one list for each set of shards, the likeliest first."""
    known = [one for one in every if one.suffix.lower() in EXTENSIONS and not one.name.startswith(".")]
    if not known:
        if packed := [one for one in every if one.suffix.lower() in COMPRESSED and EXTENSIONS.keys() & {*one.suffixes}]:
            format_of(packed[0].name)  # raises: unpack it
        raise SourceError(
            f"{folder} has no file of rows ({', '.join(EXTENSIONS)}).",
            remedy='Of images alone, say what to ask: --question "Describe this picture in detail."; else give a file '
            "of questions and answers.",
        )
    sets: dict[str, list[Path]] = {}
    for one in known:
        sets.setdefault(_SHARD.sub("*", _OF.sub("-*", str(one))), []).append(one)

    def likely(key: str) -> tuple[bool, int]:
        name = Path(key).name.lower()
        return not re.search(r"info|config|license|package|stats|schema", name), sum(
            p.stat().st_size for p in sets[key]
        )

    return [sets[key] for key in sorted(sets, key=likely, reverse=True)]


def _pattern(names: list[str]) -> str | list[str]:
    """One glob for shards that differ in their number only, else the names."""
    if len(names) == 1:
        return names[0]
    globs = {re.sub(r"\d+(?=\D*$)", "*", _OF.sub("-*", name)) for name in names}
    return globs.pop() if len(globs) == 1 else names


def read_sample(found: Found, files: Sequence[SourceFile]) -> None:
    """Fill in sample rows, and the format where extensions do not say it. Raises SourceError: no rows."""
    wanted = SAMPLE
    first = ""
    for file in files:
        format = format_of(file.name)
        rows, why = _rows(file, format, wanted)
        if format == "json" and not rows:
            lines, _ = _rows(file, "jsonl", wanted)
            if lines:
                found.fields["format"], found.why["format"] = "jsonl", "it has one object on each line"
                rows = lines
        if format == "jsonl" and not rows:
            listed, _ = _rows(file, "json", wanted)
            if listed:
                found.fields["format"], found.why["format"] = "json", "it is one list of objects"
                rows = listed
        found.rows += rows
        first = first or why
        wanted = SAMPLE - len(found.rows)
        if wanted <= 0:
            return
    if not found.rows:
        raise SourceError(
            f"{found.place} has no rows that can be read{f': {first}' if first else ''}.",
            remedy="Save the file as UTF-8." if "UTF-8" in first else "Check the files.",
        )


def _rows(file: SourceFile, format: Any, wanted: int) -> tuple[list[Mapping[str, Any]], str]:
    """The rows that can be read, and what is wrong with the first of the others."""
    reader, scan = ROW_FORMATS.get(format), Scan(limit=wanted)
    try:
        reader.scan(file, scan)
        rows = list(reader.read(file, tuple(scan.marks), 0, scan.rows, None))
    except SourceError:
        if format != "json":
            raise
        return [], ""
    wrong = next((row for row in rows if isinstance(row, Unreadable)), None)
    why = f"{wrong.reason.replace('_', ' ')}, {wrong.detail}" if wrong else ""
    return [row for row in rows if isinstance(row, Mapping) and row], why


def archive_names(archives: list[SourceFile]) -> list[str]:
    """Names of the images in archives; nothing where they cannot be read."""
    names: list[str] = []
    for file in archives:
        try:
            names += islice(opened(file).members, MAX_LISTED)
        except SourceError:
            continue
    return [name for name in names if IMAGE_NAME.search(name)]


def _hub(id: str) -> Found:
    card = told_of(id)
    found = Found(id, {"hub": {"id": id}})
    known = [name for name in catalog_names() if (hub := find_declaration(name)[0].hub) and hub.id == id]
    if known:
        found.doubts.append(
            f"The catalog has it already, as {', '.join(known[:4])}: see `mmpr sources show {known[0]}`."
        )
    if card.config:
        found.fields["hub"]["config"] = card.config
        if len(card.configs) > 1:
            found.doubts.append(f"It has the configurations {', '.join(card.configs)}; `config` is the first.")
    usual = [name for name in ("train", "testmini", "validation", "val", "test") if name in card.splits]
    split = [*usual, *card.splits, "train"][0]
    found.fields["hub"]["split"] = split
    if len(card.splits) > 1:
        found.doubts.append(f"It has the splits {', '.join(card.splits)}; `split` is one of them.")
    if not split.startswith("train"):
        found.fields["role"], found.why["role"] = "evaluation", f"the split is {split}"
    if card.licence:
        found.fields["licence"], found.why["licence"] = card.licence, "its card says so"
    found.fields["homepage"] = f"https://huggingface.co/datasets/{id}"
    location = HubLocation(**found.fields["hub"])
    commit, files = resolve(location, whole=False)
    zips = [path for path in card.files if path.lower().endswith(".zip")]
    readable = [file for file in files if Path(file.name).suffix.lower() in EXTENSIONS]
    if len(readable) < len(files) or not files:
        rows = [path for path in card.files if Path(path).suffix.lower() in EXTENSIONS]
        # Files of one extension and folder: where most are, those of training first.
        if not rows:
            best = []
        else:
            train = [path for path in rows if "train" in path.lower()] or rows
            groups = Counter((str(Path(path).parent), Path(path).suffix) for path in train)
            likeliest_best = groups.most_common(1)[0][0]
            best = [path for path in train if (str(Path(path).parent), Path(path).suffix) == likeliest_best]
        if not best:
            raise SourceError(
                f"{id} has no files of rows that can be read.",
                remedy=f"It has {', '.join(card.files[:8])}. Download it and declare `files:`.",
            )
        found.fields["hub"]["files"] = _pattern(best)
        found.why["hub"] = "the files of rows named, as the split holds others too"
        readable = repository_files(location, commit, tuple(best), whole=False)
    read_sample(found, readable)
    if zips:
        found.archives = list(repository_files(location, commit, tuple(zips), whole=False))
    return found


def write_rows(folder: Path, questions: Sequence[str], rows: Path, force: bool = False) -> int:
    """Write a row for each image below `folder` to the JSONL file `rows`; gives how many.

    Of several questions each image is asked one, by the hash of its path: the same one however often this is done.
    Raises ConfigError where there are no images, or `rows` cannot be written or, without `force`, is there already.
    """
    found = (path for path in folder.rglob("*") if IMAGE_NAME.search(path.name) and path.is_file())
    images = sorted(islice(found, MAX_LISTED * 50))
    if not images:
        raise ConfigError(f"{folder} has no images.", remedy="Give a folder of png, jpg, webp, gif, bmp or tiff files.")
    try:
        with rows.open("w" if force else "x", encoding="utf-8") as file:
            for image in images:
                name = image.relative_to(folder).as_posix()
                asked = questions[int(content_id(name)[:8], 16) % len(questions)]
                path = Path(os.path.relpath(image, rows.parent)).as_posix()
                file.write(json.dumps({"id": name, "image": path, "question": asked}, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise ConfigError(
            f"{rows} is there already.", remedy="Give another --out, or write over it: --force."
        ) from None
    except OSError as error:
        raise ConfigError(f"Cannot write {rows}: {error.strerror or error}.", remedy="Give another --out.") from None
    return len(images)
