"""LLaMA-Factory: preference data in its sharegpt form, with `dataset_info.json` beside it.

As its `data/README.md` says it: `conversations` that end with the human's turn, `chosen` and `rejected` messages, and
`images`, of which each has its `<image>` in the text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.dataset.export.built import TRAIN_FILE, Built, ExportedPair, write_pairs
from mmpr_pipeline.models.messages import turns_of

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
COLUMNS = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `train.jsonl`, `dataset_info.json` and `images/`."""
    counts = write_pairs(built, folder, announce, _record)
    entry = {"file_name": TRAIN_FILE, "formatting": "sharegpt", "ranking": True, "columns": COLUMNS}
    (folder / "dataset_info.json").write_text(json.dumps({built.name: entry}, indent=2) + "\n", "utf-8")
    return counts


def _record(row: ExportedPair, paths: list[str]) -> dict[str, object]:
    answers = {side: {"from": "gpt", "value": row[side]} for side in ("chosen", "rejected")}
    turns = [{"from": _SPEAKERS[turn.role], "value": turn.text} for turn in turns_of(row["prompt"])]
    return {"conversations": turns, **answers, "images": paths}


def usage(dest: Path) -> str:
    """How LLaMA-Factory opens it."""
    return (
        "# For LLaMA-Factory\n\n"
        f"    llamafactory-cli train ... stage=dpo dataset={dest.name} dataset_dir={dest} media_dir={dest}\n"
    )
