"""Where image paths of a sample lead: into the rows' folder, another folder, or archives beside them."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected, SourceError
from mmpr_pipeline.sources.adding.guess import Guess
from mmpr_pipeline.sources.adding.look import Found, archive_names
from mmpr_pipeline.sources.adding.table import Table, image_form, last
from mmpr_pipeline.sources.images.archives import ImageArchives

_SEEN = 50


def guess_places(guess: Guess, table: Table, found: Found) -> None:
    """Say where the images of paths are: archives, image_root, or a path made of a column that is only a name."""
    paths = _paths(guess, table)
    if not paths and not {"image", "images", "image_path"} & set(guess.columns):
        _path_of_names(guess, table, found)
        paths = _paths(guess, table)
    if not paths:
        return
    if found.beside and all((found.beside / path).is_file() for path in paths[:5]):
        return
    useful = []
    for file in found.archives:
        images = ImageArchives((file,))
        for path in paths:
            with suppress(ItemRejected, SourceError):
                if images.read(path) is not None:
                    useful.append(file.name)
                    break
    if useful:
        guess.fields["archives"] = useful[0] if len(useful) == 1 else useful
        guess.why["archives"] = f"there is {paths[0]}"
        return
    wanted = PurePosixPath(paths[0]).as_posix().lstrip("./")
    for name in found.names:
        if found.folder and (name == wanted or name.endswith(f"/{wanted}")):
            root = name[: -len(wanted)].rstrip("/") or "."
            if all((found.folder / root / path).is_file() for path in paths[:5]):
                guess.fields["image_root"] = posixpath.normpath(posixpath.join(found.root, root))
                guess.why["image_root"] = "there the paths of the rows lead to files"
                return
    guess.doubts.append(f"The images were not found, such as {paths[0]}: say image_root or archives.")


def _paths(guess: Guess, table: Table) -> list[str]:
    """Some image paths of the sample."""
    found: list[Any] = []
    for key in ("image", "images"):
        names = guess.columns.get(key)
        for name in [names] if isinstance(names, str) else names or []:
            for value in table.present(name) if ";" not in name else []:
                found += value if isinstance(value, list | tuple) else [value]
    if template := guess.columns.get("image_path"):
        name, rest = template[1:].split("}", 1)
        found += [f"{value}{rest}" for value in table.texts(name.partition(":")[0])]
    plain = [value.get("path") if isinstance(value, dict) and not value.get("bytes") else value for value in found]
    return [path for path in plain if isinstance(path, str) and image_form(path) == "path"][:_SEEN]


def _path_of_names(guess: Guess, table: Table, found: Found) -> None:
    """`{image_id}.jpg` where a column holds names of image files without their ending."""
    names = found.names or archive_names(found.archives)
    by_stem = {PurePosixPath(name).stem: name for name in names}
    taken = {guess.columns.get(name) for name in ("question", "answer", "answers", "context")}
    for column in sorted(set(table.columns) - taken, key=lambda name: ("image" not in last(name), name)):
        values = table.texts(column)[:_SEEN]
        if not values:
            continue
        for digits in (0, 12, 6, 8):
            stems = [value.rjust(digits, "0") if digits else value for value in values]
            if sum(stem in by_stem for stem in stems) < 0.8 * len(stems):
                continue
            name = PurePosixPath(by_stem[next(stem for stem in stems if stem in by_stem)])
            pad = f":0{digits}d" if digits else ""
            parent = "" if str(name.parent) == "." else f"{name.parent}/"
            guess.suggest("image_path", f"{parent}{{{column}{pad}}}{name.suffix}", f"files are named by {column}")
            return
