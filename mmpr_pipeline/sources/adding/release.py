"""MMPR as it is released: annotations in zips, images in split zips, a `meta.json` of somebody else's paths.

A folder of what was downloaded and a data set on the Hub are looked at alike; of neither is anything unpacked.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected, SourceError
from mmpr_pipeline.sources.adding.look import is_hub_id
from mmpr_pipeline.sources.adding.table import IMAGE_NAME
from mmpr_pipeline.sources.declaration.parts import HubLocation
from mmpr_pipeline.sources.files.containers import INSIDE, directory_of, member_file
from mmpr_pipeline.sources.files.formats import LocalFile, SourceFile
from mmpr_pipeline.sources.files.hub import commit_of, repository_files
from mmpr_pipeline.sources.files.split_files import SPLIT, joined
from mmpr_pipeline.sources.images.archives import ImageArchives

MOST_META = 16 * 2**20
MOST_NESTED = 2
"""How deep zips within zips are looked into."""

_DEPTH = 3
_ROWS = (".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class Release:
    """What is in a folder or a data set on the Hub: its archives, and its files of rows by their names."""

    place: str
    hub: HubLocation | None
    folder: Path | None
    archives: tuple[SourceFile, ...]
    rows: Mapping[str, SourceFile]
    metas: tuple[Mapping[str, Any], ...]
    damaged: tuple[str, ...]

    def find_rows(self, path: str) -> SourceFile | None:
        """The file of rows that a path of another machine means: the one whose name shares most of its last folders."""
        wanted = PurePosixPath(path.replace("\\", "/")).parts
        best, most = None, 0
        for name, file in self.rows.items():
            parts = PurePosixPath(name.replace(INSIDE, "/")).parts
            pairs = list(zip(reversed(parts), reversed(wanted), strict=False))
            same = next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))
            if same > most:
                best, most = file, same
        return best

    def find_images(self, root: str, paths: Sequence[str]) -> tuple[str, str] | None:
        """(image_root, image_prefix) with which paths of rows, below the told root, lead into the archives."""
        images = ImageArchives(self.archives)
        for path in paths:
            folders = PurePosixPath(root.replace("\\", "/")).parts
            for start in range(len(folders) + 1):
                tried = posixpath.join(*folders[start:], path.lstrip("/")) if start < len(folders) else path.lstrip("/")
                if _has(images, tried):
                    found = "/".join(part for part in folders[start:] if part != "/")
                    return found, "/" if path.startswith("/") else ""
            parts = PurePosixPath(path).parts
            for start in range(1, len(parts)):
                if _has(images, "/".join(parts[start:])):
                    return "", path[: len(path) - len("/".join(parts[start:]))]
        return None


def _has(images: ImageArchives, path: str) -> bool:
    try:
        return images.has(path)
    except (ItemRejected, SourceError):
        return False


def open_release(target: str) -> Release | None:
    """What is released at a folder, at a `meta.json` in it, or under an id of the Hub; None where it is none.

    It is one where a zip has files of rows in it, or a file of rows lies beside a split zip or a `meta.json`.
    """
    path = Path(target)
    hub, folder = None, None
    files: list[SourceFile] = []
    if path.exists():
        folder = path if path.is_dir() else path.parent
        # At most three folders deep; folders of unpacked images are passed over.
        for depth in range(_DEPTH):
            for one in islice(folder.glob("/".join(["*"] * (depth + 1))), 20_000):
                if (_is_zip(one.name) or one.suffix.lower() in _ROWS) and one.is_file():
                    files.append(LocalFile(one.resolve(), one.relative_to(folder).as_posix(), one.stat().st_size))
    elif is_hub_id(target):
        hub = HubLocation(id=target.removeprefix("hf://datasets/"))
        commit = commit_of(hub)
        hub = hub.model_copy(update={"revision": commit})
        files += repository_files(hub, commit, ("*",), whole=False)
    else:
        return None
    zips = joined([file for file in files if _is_zip(file.name)])
    metas = [found for file in files if _is_meta(file.name, file.size) and (found := _meta(file))]
    if not metas and not zips:
        return None
    archives, rows, damaged = list[SourceFile](), dict[str, SourceFile](), list[str]()
    for file in zips:
        _look_inside(file, MOST_NESTED, archives, rows, metas, damaged)
    # MMPR-Tiny: one file of rows whose image paths begin with the data set's own name, beside `images.zip`.
    tiny = {"mmpr_tiny.parquet", "images.zip"} <= {PurePosixPath(file.name).name for file in files}
    if not rows and not metas and not tiny and not any(SPLIT.fullmatch(file.name) for file in files):
        return None
    rows |= {
        file.name: file for file in files if Path(file.name).suffix.lower() in _ROWS and not _is_meta(file.name, 0)
    }
    if not rows:
        return None
    return Release(target, hub, folder, tuple(archives), rows, tuple(metas), tuple(damaged))


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip") or SPLIT.fullmatch(name) is not None


def _is_meta(name: str, size: int) -> bool:
    return re.fullmatch(r"meta[\w.-]*\.json", PurePosixPath(name).name) is not None and size <= MOST_META


def _meta(file: SourceFile) -> Mapping[str, Any] | None:
    try:
        with file.open() as stream:
            return meta_of(stream.read(MOST_META + 1))
    except SourceError:
        return None


def meta_of(data: bytes) -> Mapping[str, Any] | None:
    """The sources that a `meta.json` names, by name; None where it is something else."""
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict) or not entries:
        return None
    named = (isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("root", "annotation"))
             for one in entries.values())  # fmt: skip
    return entries if all(named) else None


def _look_inside(
    file: SourceFile,
    depth: int,
    archives: list[SourceFile],
    rows: dict[str, SourceFile],
    metas: list[Mapping[str, Any]],
    damaged: list[str],
) -> None:
    """Sort what is in a zip: an archive of images, files of rows, further zips."""
    try:
        directory = directory_of(file)
    except SourceError as error:
        damaged.append(str(error).splitlines()[0])
        return
    pictured = False
    for name in directory.places:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in _ROWS or (suffix == ".zip" and depth):
            member = member_file(file, name)
            if suffix == ".zip":
                _look_inside(member, depth - 1, archives, rows, metas, damaged)
            elif _is_meta(name, member.size) and (found := _meta(member)):
                metas.append(found)
            else:
                rows[member.name] = member
        pictured = pictured or IMAGE_NAME.search(name) is not None
    if pictured:
        archives.append(file)


def address_fields(release: Release, file: SourceFile, base: Path) -> dict[str, object]:
    """The fields of a declaration at `base` that name a file of rows of the release, and its archives."""

    def named(one: SourceFile) -> str:
        if release.folder is None:
            return one.name
        return posixpath.join(Path(_relative(release.folder, base)).as_posix(), one.name)

    fields: dict[str, object] = {}
    if release.hub:
        hub = release.hub
        fields["hub"] = {"id": hub.id, "revision": hub.revision, "files": file.name}
        fields["homepage"] = f"https://huggingface.co/datasets/{hub.id}"
    else:
        fields["files"] = named(file)
    return fields


def image_archive_names(release: Release, base: Path) -> list[str]:
    """The archives of images, as a declaration at `base` names them."""
    if release.folder is None:
        return [one.name for one in release.archives]
    start = Path(_relative(release.folder, base)).as_posix()
    return [posixpath.join(start, one.name) for one in release.archives]


def _relative(folder: Path, base: Path) -> str:
    return os.path.relpath(folder.resolve(), base.resolve())
