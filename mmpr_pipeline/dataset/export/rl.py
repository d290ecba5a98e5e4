"""Prompts for online RL: the questions of a build whose stored rollouts were right in some share of cases.

The second product of the same rollouts: a question that the policy always or never solves teaches nothing online. Each
row has the prompt, its images, the gold and all that the checker is told of it, the solve rate and its counts; beside
the rows lies `reward.py`, which is the checker in the shape that the trainer calls.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.export.built import IMAGE_MARK, Built, ExportedImages, line
from mmpr_pipeline.dataset.export.trl import parts
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.publish.parquet import Images, write_parquet

LAYOUTS = ("parquet", "trl", "verl", "nemo-rl", "swift", "openrlhf")
TINY = "MMPR-Tiny"
"""The folder of images that NeMo-RL's loader of MMPR-Tiny expects."""

_COLUMNS = ("question_id", "source", "source_id", "prompt", "images", "text", "answer", "answers", "kind", "choices",
            "unit", "precision", "language", "correct", "incorrect", "unparseable")  # fmt: skip
_GROUP = 256

_REWARD = {
    "trl": "from mmpr_pipeline.checking.reward import trl_reward\n\nreward = trl_reward()\n",
    "verl": 'from mmpr_pipeline.checking.reward import compute_score\n\n__all__ = ["compute_score"]\n',
    "openrlhf": "from mmpr_pipeline.checking.reward import openrlhf_reward as reward_func\n\n"
    '__all__ = ["reward_func"]\n',
    "swift": "from swift.rewards import ORM, orms\n\nfrom mmpr_pipeline.checking.reward import trl_reward\n\n\n"
    "class MmprChecker(ORM):\n    def __call__(self, completions, solution, **columns):\n"
    '        return trl_reward(doubtful=0.0)(completions, solution, **columns)\n\n\norms["mmpr"] = MmprChecker\n',
}
_REWARD["parquet"] = _REWARD["trl"]
_REWARD["nemo-rl"] = _REWARD["verl"]


@dataclass(frozen=True)
class RlPrompts:
    """An export of the questions with a solve rate from `low` to `high`, both included, in one of LAYOUTS."""

    low: float = 0.2
    high: float = 0.8
    layout: str = "parquet"

    def write(self, built: Built, folder: Path, told: Callable[[int], None]) -> Counter[str]:
        """Write the rows, their images and `reward.py`; see `Format`. Counts are of questions."""
        counts: Counter[str] = Counter()
        (folder / "reward.py").write_text(f'"""The checker of mmpr as a reward."""\n\n{_REWARD[self.layout]}', "utf-8")
        if self.layout in ("swift", "openrlhf"):
            self._write_lines(built, folder, told, counts)
        else:
            self._write_parquet(built, folder, told, counts)
        return counts

    def _rows(self, built: Built, shard: int, folder: Path, counts: Counter[str]) -> Iterator[dict[str, Any]]:
        """The questions of one shard that are kept; of the others, why not is counted."""
        for batch in record_batches(built.fetch("questions", shard, folder), list(_COLUMNS)):
            for row in batch.to_pylist():
                if reason := self._left_out(row):
                    counts[reason] += 1
                    continue
                counts["pairs"] += 1
                yield row

    def _left_out(self, row: dict[str, Any]) -> str | None:
        checked = row["correct"] + row["incorrect"] + row["unparseable"]
        if not row["question_id"] or row["kind"] == "none" or row["answer"] is None:
            return "no_gold"
        if not checked:
            return "no_checked_rollouts"
        if row["prompt"].count(IMAGE_MARK) != len(row["images"]):
            return "image_marks_differ_from_images"
        if self.layout == "nemo-rl" and len(row["images"]) != 1:
            return "not_one_image"
        rate = row["correct"] / checked
        return "below_solve_rate" if rate < self.low else "above_solve_rate" if rate > self.high else None

    def _write_lines(self, built: Built, folder: Path, told: Callable[[int], None], counts: Counter[str]) -> None:
        pictures = ExportedImages(folder / "images")
        with open(folder / "train.jsonl", "w", encoding="utf-8") as file, TemporaryDirectory(prefix="mmpr-") as place:
            for shard in range(built.shards):
                images = Images.open(built.fetch("images", shard, Path(place)))
                for row in self._rows(built, shard, Path(place), counts):
                    paths = [f"images/{path}" for path in pictures.paths(images, row["images"])]
                    turn = [{"role": "user", "content": row["prompt"]}]
                    if self.layout == "swift":
                        file.write(line({"messages": turn, "images": paths, **facts(row)}))
                    else:
                        label = json.dumps(facts(row), ensure_ascii=False)
                        file.write(line({"prompt": turn, "images": paths, "label": label}))
                told(shard + 1)

    def _write_parquet(self, built: Built, folder: Path, told: Callable[[int], None], counts: Counter[str]) -> None:
        schema = _features(self.layout).arrow_schema
        (folder / "data").mkdir()
        pictures = ExportedImages(folder / TINY / "images") if self.layout == "nemo-rl" else None

        def tables() -> Iterator[pa.Table]:
            for shard in range(built.shards):
                with TemporaryDirectory(prefix="mmpr-") as place:
                    images = Images.open(built.fetch("images", shard, Path(place)))
                    group: list[dict[str, Any]] = []
                    for row in self._rows(built, shard, Path(place), counts):
                        if pictures:
                            paths = pictures.paths(images, row["images"])
                            held: list[dict[str, Any]] = [
                                {"bytes": None, "path": f"{TINY}/images/{path}"} for path in paths
                            ]
                        else:
                            names = row["images"]
                            held = [{"bytes": images.bytes_of(n), "path": images.file_name(n)} for n in names]
                        group.append(self._record(row, held))
                        if len(group) == _GROUP:
                            yield pa.Table.from_pylist(group, schema=schema)
                            group = []
                    if group:
                        yield pa.Table.from_pylist(group, schema=schema)
                told(shard + 1)

        name = "mmpr_tiny.parquet" if pictures else "data/train.parquet"
        write_parquet(folder / name, tables(), schema)
        if pictures:
            (folder / "data").rmdir()
            (folder / ".mmpr_ready").write_text("ready\n", "utf-8")

    def _record(self, row: dict[str, Any], images: list[dict[str, Any]]) -> dict[str, Any]:
        turn = [{"role": "user", "content": row["prompt"]}]
        told = facts(row)
        if self.layout == "trl":
            return {"prompt": [{"role": "user", "content": parts(row["prompt"])}], "images": images, **told}
        if self.layout in ("verl", "nemo-rl"):
            gold = {"style": "rule", "ground_truth": row["answer"]}
            extra = {"split": "train", "index": row["question_id"], **told}
            return {"data_source": f"mmpr/{row['source']}", "prompt": turn, "images": images, "ability": row["kind"],
                    "reward_model": gold, "extra_info": extra}  # fmt: skip
        return {"prompt": row["prompt"], "images": images, **told}

    def usage(self, dest: Path) -> str:
        """How a trainer is told of it."""
        reward = dest / "reward.py"
        how = {
            "parquet": f'    datasets.load_dataset("parquet", data_files="{dest}/data/*.parquet")\n',
            "trl": f'    rows = datasets.load_dataset("parquet", data_files="{dest}/data/*.parquet", split="train")\n'
            "    GRPOTrainer(model, reward_funcs=[trl_reward()], train_dataset=rows, ...)  # reward.py\n",
            "verl": f"    data.train_files={dest}/data/train.parquet data.image_key=images \\\n"
            f"    custom_reward_function.path={reward} custom_reward_function.name=compute_score\n",
            "nemo-rl": f"    data.train.dataset_name=mmpr-tiny data.train.cache_dir={dest}\n",
            "swift": f"    ROOT_IMAGE_DIR={dest} swift rlhf --rlhf_type grpo --dataset {dest}/train.jsonl \\\n"
            f"      --external_plugins {reward} --reward_funcs mmpr\n",
            "openrlhf": f"    --prompt_data {dest}/train.jsonl --input_key prompt --label_key label \\\n"
            f"      --apply_chat_template --remote_rm_url {reward}\n",
        }[self.layout]
        return f"# Prompts for online RL, solve rate {self.low:g} to {self.high:g}\n\n{how}"


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """What the checker is told of a question, its solve rate, and where it is from; beside prompt and images."""
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


def _features(layout: str) -> Any:
    import datasets

    text, whole, real = (datasets.Value(kind) for kind in ("string", "int64", "float64"))
    told = dict.fromkeys(
        ("solution", "kind", "question", "unit", "language", "question_id", "source", "source_id"), text
    )
    told |= {"golds": datasets.List(text), "choices": datasets.List(text), "precision": real, "solve_rate": real}
    told |= dict.fromkeys(("correct", "incorrect", "unparseable"), whole)
    images = {"images": datasets.List(datasets.Image())}
    if layout == "trl":
        content = datasets.List({"type": text, "text": text})
        return datasets.Features({"prompt": datasets.List({"role": text, "content": content}), **images, **told})
    if layout in ("verl", "nemo-rl"):
        turn = datasets.List({"role": text, "content": text})
        gold = {"style": text, "ground_truth": text}
        extra = {"split": text, "index": text, **told}
        return datasets.Features({"data_source": text, "prompt": turn, **images, "ability": text, "reward_model": gold,
                                  "extra_info": extra})  # fmt: skip
    return datasets.Features({"prompt": text, **images, **told})


def rl_prompts(solve_rate: str | None, layout: str | None) -> RlPrompts:
    """The export that flags ask for: `0.2:0.8` and one of LAYOUTS. Raises ConfigError."""
    low, _, high = (solve_rate or "0.2:0.8").partition(":")
    try:
        bounds = float(low or 0), float(high or 1)
    except ValueError:
        bounds = (2.0, 0.0)
    if not 0 <= bounds[0] <= bounds[1] <= 1:
        raise ConfigError(f"{solve_rate!r} is no range of solve rates.", remedy="Give LOW:HIGH from 0 to 1: 0.2:0.8.")
    if layout and layout not in LAYOUTS:
        raise ConfigError(f"There is no layout {layout!r} of RL prompts.", remedy=f"Use one of: {', '.join(LAYOUTS)}.")
    return RlPrompts(*bounds, layout or "parquet")


write = RlPrompts().write
"""As a format of the registry, with the default solve rates."""

usage = RlPrompts().usage
"""As a format of the registry."""
