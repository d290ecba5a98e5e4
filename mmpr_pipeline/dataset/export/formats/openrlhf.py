"""OpenRLHF: one JSON line a pair, `prompt`, `chosen` and `rejected` as messages, as its `train_dpo` reads them.

With `--data.prompt_key prompt --data.apply_chat_template` it renders the prompt, and the prompt with each response
behind it, so each side is a list of messages. Its DPO trainer (0.10) is for text models: `images` are for a trainer
that reads them, as its own PPO does, and until then `<image>` is text like any other.
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
            prompt = [{"role": turn.role, "content": turn.text} for turn in turns_of(row["prompt"])]
            answers = {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
            paths = [f"images/{path}" for path in pictures.paths(images, row["images"])]
            file.write(line({"prompt": prompt, **answers, "images": paths}))
            counts["pairs"] += 1
    return counts


def usage(dest: Path) -> str:
    """How OpenRLHF opens it."""
    return (
        "# For OpenRLHF\n\nPaths of images are relative to this folder. Its DPO trainer reads texts only:\n\n"
        f"    deepspeed --module openrlhf.cli.train_dpo --data.dataset {dest / FILE} \\\n"
        "      --data.prompt_key prompt --data.chosen_key chosen --data.rejected_key rejected \\\n"
        "      --data.apply_chat_template ...\n"
    )
