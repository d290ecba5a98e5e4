"""Images of a sample: which columns hold them, and where paths lead: to the rows' folder, another one, or archives."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected, SourceError
from mmpr_pipeline.sources.adding.look import Found, archive_names
from mmpr_pipeline.sources.adding.table import Guess, Rows, Table, image_form, last
from mmpr_pipeline.sources.images.archives import ImageArchives
from mmpr_pipeline.sources.rows.columns import image_path

_IMAGE_WORD = re.compile(r"image|img|picture|photo|figure|diagram|^(jpe?g|png|webp)$", re.IGNORECASE)
_MEMBERS = ("jpg", "jpeg", "png", "webp")
_KINDS_IN_WORDS = {
    "bytes": "bytes of images",
    "struct": "images as `datasets` keeps them",
    "base64": "images in base64",
    "url": "URLs of images",
    "path": "paths of images",
}
_NUMBERED = re.compile(r"(.*?)[ _-]?(\d{1,2})$")


def guess_images(guess: Guess, table: Table) -> None:
    """Columns that refer to images: those that hold the bytes before those that name a place."""
    found: dict[str, str] = {}
    for name in table.columns:
        values = table.present(name)
        forms = [form for value in values if (form := image_form(value))]
        if forms and len(forms) >= 0.8 * len(values):
            form = max(set(forms), key=forms.count)
            if form != "url" or _IMAGE_WORD.search(name) or "url" in last(name):
                found[name] = form
    if not found:
        return
    order = {"bytes": 0, "struct": 0, "base64": 1, "list": 1, "path": 2, "url": 3}
    names = sorted(found, key=lambda name: (order[found[name]], not _IMAGE_WORD.search(last(name)), name))
    best = names[0]
    # `image_1`, `image_2`, ... beside each other: columns with images in the same form, and those that are null in the
    # whole sample, for `image_7` may hold an image in a later row.
    alike = [name for name in names if order[found[name]] == order[found[best]]]
    null = [name for name in table.columns if not table.present(name)]
    first = _NUMBERED.fullmatch(best)
    numbered = sorted(
        (int(match[2]), name)
        for name in (*alike, *null)
        if first and (match := _NUMBERED.fullmatch(name)) and match[1] == first[1]
    )
    if found[best] == "list":
        guess.suggest("images", best, "lists of images")
    elif len(numbered) > 1:
        guess.suggest("image", [name for _, name in numbered], f"images ({found[best]}) in numbered columns")
    elif best in _MEMBERS:  # members of a tar
        every = [name for name in _MEMBERS if found.get(name) == "bytes"]
        guess.suggest("image", ";".join(every), "image files of the tar")
    else:
        guess.suggest("image", best, _KINDS_IN_WORDS[found[best]])
    if table.share(best) < 1 and best not in _MEMBERS:
        guess.doubts.append(f"{1 - table.share(best):.0%} of the sample have no image; `text_only: true` keeps them.")


def image_paths(rows: Rows, most: int = 20) -> list[str]:
    """Some image paths of a sample, from whichever columns hold paths, or lists or structs of them."""
    found: list[str] = []
    for row in rows:
        for value in row.values():
            for one in value if isinstance(value, list | tuple) else [value]:
                path = one.get("path") if isinstance(one, Mapping) and not one.get("bytes") else one
                if isinstance(path, str) and image_form(path) == "path":
                    found.append(path)
        if len(found) >= most:
            break
    return found[:most]


_SEEN = 50


def guess_places(guess: Guess, table: Table, found: Found) -> None:
    """Say where the images of paths are: archives, image_root, or a path made of a column that is only a name."""
    paths = _paths(guess, table)
    named: dict[str, Any] = {
        key: guess.columns[key] for key in ("image", "images", "image_path") if key in guess.columns
    }
    if not paths and (not named or (isinstance(named.get("image"), str) and _are_urls(table, str(named["image"])))):
        # Files that are there before URLs, which may be there no more.
        guess.columns.pop("image", None)
        _path_of_names(guess, table, found)
        if "image_path" not in guess.columns:
            guess.columns.update(named)
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


def _are_urls(table: Table, column: str) -> bool:
    return {image_form(value) for value in table.present(column)} == {"url"}


def _paths(guess: Guess, table: Table) -> list[str]:
    """Some image paths of the sample."""
    found: list[Any] = []
    for key in ("image", "images"):
        names = guess.columns.get(key)
        for name in [names] if isinstance(names, str) else names or []:
            for value in table.present(name) if ";" not in name else []:
                found += value if isinstance(value, list | tuple) else [value]
    if template := guess.columns.get("image_path"):
        for number in range(min(table.size, _SEEN)):
            row = {name: values[number] for name, values in table.columns.items()}
            with suppress(ItemRejected, KeyError):
                found.append(image_path(template, row.__getitem__))
    plain = [value.get("path") if isinstance(value, dict) and not value.get("bytes") else value for value in found]
    return [path for path in plain if isinstance(path, str) and image_form(path) == "path"][:_SEEN]


def _path_of_names(guess: Guess, table: Table, found: Found) -> None:
    """`{image_id}.jpg` where a column holds names of image files without their ending, or numbers that they end on, as
    `COCO_train2014_{image_id:012d}.jpg`."""
    names = found.names or archive_names(found.archives)
    by_stem = {PurePosixPath(name).stem: name for name in names}
    taken = {guess.columns.get(name) for name in ("question", "answer", "answers", "context")}
    for column in sorted(set(table.columns) - taken, key=_likely_name):
        values = table.texts(column)[:_SEEN]
        if not values:
            continue
        for digits in (0, 12, 6, 8):
            ends = [value.rjust(digits, "0") if digits else value for value in values]
            longer = [stem for stem in by_stem if digits and stem.endswith(ends[0]) and stem != ends[0]]
            for prefix in ("", *(stem.removesuffix(ends[0]) for stem in longer[:3])):
                stems = [prefix + end for end in ends]
                if prefix[-1:].isdigit() or sum(stem in by_stem for stem in stems) < 0.8 * len(stems):
                    continue
                name = PurePosixPath(by_stem[next(stem for stem in stems if stem in by_stem)])
                pad = f":0{digits}d" if digits else ""
                parent = "" if str(name.parent) == "." else f"{name.parent}/"
                path = f"{parent}{prefix}{{{column}{pad}}}{name.suffix}"
                guess.suggest("image_path", path, f"files are named by {column}")
                return


def _likely_name(column: str) -> tuple[bool, bool, str]:
    """Names of images before all else, and of those the ids and not the sizes."""
    return "image" not in last(column), not last(column).endswith(("id", "name", "image")), column
