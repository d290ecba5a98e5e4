"""ms-swift: one JSON line a pair, `messages` that end in the chosen response, `rejected_response`, and `images`.

As its guide to custom data sets says it (Custom-dataset, "RLHF, DPO" and "multimodal"): `<image>` in the text marks
where each of `images` goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.dataset.export.built import TRAIN_FILE, Built, ExportedPair, write_pairs
from mmpr_pipeline.models.messages import turns_of


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `train.jsonl` and `images/`."""
    return write_pairs(built, folder, announce, _record)


def _record(row: ExportedPair, paths: list[str]) -> dict[str, object]:
    turns = [{"role": turn.role, "content": turn.text} for turn in turns_of(row["prompt"])]
    turns.append({"role": "assistant", "content": row["chosen"]})
    return {"messages": turns, "rejected_response": row["rejected"], "images": paths}


def usage(dest: Path) -> str:
    """How ms-swift opens it."""
    return (
        "# For ms-swift\n\nPaths of images are relative to this folder:\n\n"
        f"    ROOT_IMAGE_DIR={dest} swift rlhf --rlhf_type dpo --dataset {dest / TRAIN_FILE} --model ...\n"
    )
