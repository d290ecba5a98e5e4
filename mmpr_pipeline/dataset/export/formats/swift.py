"""ms-swift: one JSON line a pair, `messages` that end in the chosen response, `rejected_response`, and `images`.

As its guide to custom data sets says it (Custom-dataset, "RLHF, DPO" and "multimodal"): `<image>` in the text marks
where each of `images` goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.dataset.export.built import Built, ExportedImages, line, misplaced
from mmpr_pipeline.models.conversation import turns_of

FILE = "train.jsonl"


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `train.jsonl` and `images/`."""
    counts: Counter[str] = Counter()
    pictures = ExportedImages(folder / "images")
    with open(folder / FILE, "w", encoding="utf-8") as file:
        for row, images in built.rows(announce):
            if reason := misplaced(row):
                counts[reason] += 1
                continue
            turns = [{"role": turn.role, "content": turn.text} for turn in turns_of(row["prompt"])]
            turns.append({"role": "assistant", "content": row["chosen"]})
            paths = [f"images/{path}" for path in pictures.paths(images, row["images"])]
            file.write(line({"messages": turns, "rejected_response": row["rejected"], "images": paths}))
            counts["pairs"] += 1
    return counts


def usage(dest: Path) -> str:
    """How ms-swift opens it."""
    return (
        "# For ms-swift\n\nPaths of images are relative to this folder:\n\n"
        f"    ROOT_IMAGE_DIR={dest} swift rlhf --rlhf_type dpo --dataset {dest / FILE} --model ...\n"
    )
