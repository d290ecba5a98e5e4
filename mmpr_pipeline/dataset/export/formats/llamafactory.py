"""LLaMA-Factory: preference data in its sharegpt form, with `dataset_info.json` beside it.

As its `data/README.md` says it: `conversations` that end with the human's turn, `chosen` and `rejected` messages, and
`images`, of which each has its `<image>` in the text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.dataset.export.built import Built, ExportedImages, line, misplaced
from mmpr_pipeline.models.conversation import turns_of

FILE = "train.jsonl"
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
COLUMNS = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `train.jsonl`, `dataset_info.json` and `images/`."""
    counts: Counter[str] = Counter()
    pictures = ExportedImages(folder / "images")
    with open(folder / FILE, "w", encoding="utf-8") as file:
        for row, images in built.rows(announce):
            if reason := misplaced(row):
                counts[reason] += 1
                continue
            paths = [f"images/{path}" for path in pictures.paths(images, row["images"])]
            answers = {side: {"from": "gpt", "value": row[side]} for side in ("chosen", "rejected")}
            turns = [{"from": _SPEAKERS[turn.role], "value": turn.text} for turn in turns_of(row["prompt"])]
            file.write(line({"conversations": turns, **answers, "images": paths}))
            counts["pairs"] += 1
    entry = {"file_name": FILE, "formatting": "sharegpt", "ranking": True, "columns": COLUMNS}
    (folder / "dataset_info.json").write_text(json.dumps({built.name: entry}, indent=2) + "\n", "utf-8")
    return counts


def usage(dest: Path) -> str:
    """How LLaMA-Factory opens it."""
    return (
        "# For LLaMA-Factory\n\n"
        f"    llamafactory-cli train ... stage=dpo dataset={dest.name} dataset_dir={dest} media_dir={dest}\n"
    )
