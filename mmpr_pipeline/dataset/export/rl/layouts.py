"""The layouts of prompts for online RL: what a row looks like to each trainer, its reward, and how it is opened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmpr_pipeline.dataset.export.built import ExportedQuestion
from mmpr_pipeline.dataset.export.formats.trl import in_parts
from mmpr_pipeline.models.conversation import turns_of

TINY = "MMPR-Tiny"
"""The folder of images that NeMo-RL's loader of MMPR-Tiny expects."""

_TRL_REWARD = "from mmpr_pipeline.checking.reward import trl_reward\n\nreward = trl_reward()\n"
_SCORE = 'from mmpr_pipeline.checking.reward import compute_score\n\n__all__ = ["compute_score"]\n'
_OPENRLHF = "from mmpr_pipeline.checking.reward import openrlhf_reward as reward_func\n\n__all__ = ['reward_func']\n"
_SWIFT = (
    "from swift.rewards import ORM, orms\n\nfrom mmpr_pipeline.checking.reward import trl_reward\n\n\n"
    "class MmprChecker(ORM):\n    def __call__(self, completions, solution, **columns):\n"
    '        return trl_reward(doubtful=0.0)(completions, solution, **columns)\n\n\norms["mmpr"] = MmprChecker\n'
)


@dataclass(frozen=True)
class Layout:
    """One layout. `usage` may name `{dest}`, the folder that was written."""

    name: str
    files: Literal["parquet", "lines", "tiny"]
    """Parquet with the images inside; JSON Lines and image files; or both apart, as MMPR-Tiny lies on a disk."""
    reward: str
    """What stands in `reward.py`."""
    usage: str
    one_image: bool = False
    """Whether the trainer passes over rows without exactly one image."""

    def record(self, row: ExportedQuestion, images: Sequence[object]) -> dict[str, object]:
        """The row of a question, `images` in the form in which the files hold them."""
        known = checker_columns(row)
        turns = [{"role": turn.role, "content": turn.text} for turn in turns_of(row["prompt"])]
        match self.name:
            case "trl":
                return {"prompt": in_parts(row["prompt"]), "images": images, **known}
            case "swift":
                return {"messages": turns, "images": images, **known}
            case "openrlhf":
                return {"prompt": turns, "images": images, "label": json.dumps(known, ensure_ascii=False)}
            case "verl" | "nemo-rl":
                gold = {"style": "rule", "ground_truth": row["answer"]}
                # NeMo-RL asks what stands in `question`, and no more: there it is the whole of what was asked.
                asked = {"question": row["prompt"]} if self.name == "nemo-rl" else {}
                extra = {"split": "train", "index": row["question_id"], **known, **asked}
                return {"data_source": f"mmpr/{row['source']}", "prompt": turns, "images": images,
                        "ability": row["kind"], "reward_model": gold, "extra_info": extra}  # fmt: skip
        return {"prompt": row["prompt"], "images": images, **known}

    def how_to_open(self, dest: Path) -> str:
        """The lines to paste."""
        return self.usage.format(dest=dest)


_EVERY = (
    Layout("parquet", "parquet", _TRL_REWARD,
           '    datasets.load_dataset("parquet", data_files="{dest}/data/*.parquet")\n'),
    Layout("trl", "parquet", _TRL_REWARD,
           '    rows = datasets.load_dataset("parquet", data_files="{dest}/data/*.parquet", split="train")\n'
           "    GRPOTrainer(model, reward_funcs=[trl_reward()], train_dataset=rows, ...)  # reward.py\n"),
    Layout("verl", "parquet", _SCORE,
           "    data.train_files={dest}/data/train.parquet data.image_key=images \\\n"
           "    custom_reward_function.path={dest}/reward.py custom_reward_function.name=compute_score\n"),
    Layout("nemo-rl", "tiny", _SCORE,
           "    data.train.dataset_name=mmpr-tiny data.train.download_dir={dest}\n", one_image=True),
    Layout("swift", "lines", _SWIFT,
           "    ROOT_IMAGE_DIR={dest} swift rlhf --rlhf_type grpo --dataset {dest}/train.jsonl \\\n"
           "      --external_plugins {dest}/reward.py --reward_funcs mmpr\n"),
    Layout("openrlhf", "lines", _OPENRLHF,
           "Paths of images are relative to this folder, so run it there:\n\n"
           "    --data.prompt_dataset train.jsonl --data.input_key prompt --data.label_key label \\\n"
           "      --data.image_key images --data.max_images_per_prompt 4 --data.apply_chat_template \\\n"
           "      --reward.remote_url reward.py\n"),
)  # fmt: skip
LAYOUTS = {layout.name: layout for layout in _EVERY}


def checker_columns(row: ExportedQuestion) -> dict[str, object]:
    """What the checker takes beside a response, the question's solve rate, and where it is from."""
    checked = row["correct"] + row["incorrect"] + row["unparseable"]
    return {
        "solution": row["answer"],
        "golds": row["answers"],
        "kind": row["kind"],
        "choices": row["choices"],
        "question": row["text"],
        "unit": row["unit"],
        "precision": row["precision"],
        "language": row["language"],
        "solve_rate": row["correct"] / checked,
        "correct": row["correct"],
        "incorrect": row["incorrect"],
        "unparseable": row["unparseable"],
        "question_id": row["question_id"],
        "source": row["source"],
        "source_id": row["source_id"],
    }


def features(layout: str) -> Any:
    """The columns of a layout in Parquet, as `datasets.Features`."""
    import datasets

    text, whole, real = (datasets.Value(kind) for kind in ("string", "int64", "float64"))
    known = dict.fromkeys(
        ("solution", "kind", "question", "unit", "language", "question_id", "source", "source_id"), text
    )
    known |= {"golds": datasets.List(text), "choices": datasets.List(text), "precision": real, "solve_rate": real}
    known |= dict.fromkeys(("correct", "incorrect", "unparseable"), whole)
    images = {"images": datasets.List(datasets.Image())}
    if layout == "trl":
        content = datasets.List({"type": text, "text": text})
        return datasets.Features({"prompt": datasets.List({"role": text, "content": content}), **images, **known})
    if layout in ("verl", "nemo-rl"):
        turn = datasets.List({"role": text, "content": text})
        gold = {"style": text, "ground_truth": text}
        extra = {"split": text, "index": text, **known}
        return datasets.Features({"data_source": text, "prompt": turn, **images, "ability": text, "reward_model": gold,
                                  "extra_info": extra})  # fmt: skip
    return datasets.Features({"prompt": text, **images, **known})
