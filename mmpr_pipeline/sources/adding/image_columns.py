"""Which columns refer to images: bytes, structs, base64, paths, URLs, lists of these, numbered columns. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mmpr_pipeline.sources.adding.guess import Guess
from mmpr_pipeline.sources.adding.table import Rows, Table, image_form, last

_IMAGE_WORD = re.compile(r"image|img|picture|photo|figure|diagram|^(jpe?g|png|webp)$", re.IGNORECASE)
_MEMBERS = ("jpg", "jpeg", "png", "webp")
_TOLD = {
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
        guess.suggest("image", best, _TOLD[found[best]])
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
