"""OpenRLHF: one JSON line a pair, `prompt`, `chosen` and `rejected` as messages, as its `train_dpo` reads them.

With `--data.prompt_key prompt --data.apply_chat_template` it renders the prompt, and the prompt with each response
behind it, so each side is a list of messages. Its DPO trainer (0.10) is for text models: `images` are for a trainer
that reads them, as its own PPO does, and until then `<image>` is text like any other.
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
    prompt = [{"role": turn.role, "content": turn.text} for turn in turns_of(row["prompt"])]
    answers = {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
    return {"prompt": prompt, **answers, "images": paths}


def usage(dest: Path) -> str:
    """How OpenRLHF opens it."""
    return (
        "# For OpenRLHF\n\nPaths of images are relative to this folder. Its DPO trainer reads texts only:\n\n"
        f"    deepspeed --module openrlhf.cli.train_dpo --data.dataset {dest / TRAIN_FILE} \\\n"
        "      --data.prompt_key prompt --data.chosen_key chosen --data.rejected_key rejected \\\n"
        "      --data.apply_chat_template ...\n"
    )
