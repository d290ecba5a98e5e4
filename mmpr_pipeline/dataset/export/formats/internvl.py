"""InternVL's own MPO trainer: `meta.json` that names a JSON Lines file for each source, and the images.

As its guide says it ("Mixed Preference Optimization", prepare customized data): lines of `image`, `question`, `chosen`
and `rejected`, where `image` is a path, or a list of them, below `root`. The layout is that of MMPR itself: the paths
in `meta.json` begin with this folder's name, so the trainer runs from beside the folder.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.export.built import Built, ExportedImages, ExportedPair, follows_on, line, misplaced

SOURCE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
"""Names of sources, as declarations have them: they become names of files."""


Refusal = Callable[[ExportedPair], str | None]


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `meta.json`, `annotations/SOURCE.jsonl` and `images/`."""
    return write_recipe(built, folder, announce, lambda row: misplaced(row) or follows_on(row))


def write_recipe(built: Built, folder: Path, announce: Callable[[int], None], refused: Refusal) -> Counter[str]:
    """The same without the pairs that `refused` names a reason for."""
    counts: Counter[str] = Counter()
    lengths: Counter[str] = Counter()
    pictures = ExportedImages(folder / "images")
    (folder / "annotations").mkdir()
    with ExitStack() as stack:
        files: dict[str, TextIO] = {}
        for row, images in built.rows(announce):
            if reason := refused(row):
                counts[reason] += 1
                continue
            source = row["source"]
            if source not in files:
                if not SOURCE.fullmatch(source):
                    raise DatasetError(f"{source!r} is not the name of a source.")
                path = folder / "annotations" / f"{source}.jsonl"
                files[source] = stack.enter_context(open(path, "w", encoding="utf-8"))
            paths = pictures.paths(images, row["images"])
            image: dict[str, object] = {"image": paths[0] if len(paths) == 1 else paths} if paths else {}
            answers = {side: row[side] for side in ("chosen", "rejected")}
            files[source].write(line({"id": row["pair_id"], **image, "question": row["prompt"], **answers}))
            lengths[source] += 1
            counts["pairs"] += 1
    tiles = built.tiles()
    meta = {
        source: {
            "root": f"{built.name}/images/",
            "annotation": f"{built.name}/annotations/{source}.jsonl",
            "data_augment": False,
            "max_dynamic_patch": tiles[source],
            "repeat_time": 1,
            "length": lengths[source],
        }
        for source in sorted(lengths)
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", "utf-8")
    return counts


def usage(dest: Path) -> str:
    """How InternVL's trainer opens it."""
    return (
        f"# For InternVL's MPO trainer\n\nRun it in the folder that holds `{dest.name}`, or link `{dest.name}` to "
        f"where it runs:\n\n    --meta_path {dest.name}/meta.json\n"
    )
