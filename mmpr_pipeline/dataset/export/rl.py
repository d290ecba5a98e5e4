"""Prompts for online RL: the questions of a build whose stored rollouts were right in some share of cases.

The second product of the same rollouts: a question that the policy always or never solves teaches nothing online. Each
row has the prompt, its images, the gold and what else the checker takes, the solve rate and its counts; beside the rows
lies `reward.py`, which is the checker in the shape that the trainer calls.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pyarrow as pa

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.export.built import Built, ExportedImages, ExportedQuestion, follows_on, line
from mmpr_pipeline.dataset.export.formats.trl import in_parts
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.publish.parquet import PublishedImages, write_parquet
from mmpr_pipeline.models.messages import IMAGE_MARK, turns_of

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


UNITS = ("prompts",)

_COLUMNS = ("question_id", "source", "source_id", "prompt", "images", "text", "answer", "answers", "kind", "choices",
            "unit", "precision", "language", "correct", "incorrect", "unparseable")  # fmt: skip
_GROUP = 256


@dataclass(frozen=True)
class RlPrompts:
    """An export of the questions with a solve rate from `low` to `high`, both included."""

    low: float = 0.2
    high: float = 0.8
    layout: Layout = LAYOUTS["parquet"]

    UNITS = UNITS

    def write(self, built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
        """Write the rows, their images and `reward.py`; see `Format`. Counts are of questions."""
        counts: Counter[str] = Counter()
        (folder / "reward.py").write_text(f'"""The checker of mmpr as a reward."""\n\n{self.layout.reward}', "utf-8")
        if self.layout.files == "lines":
            pictures = ExportedImages(folder / "images")
            with open(folder / "train.jsonl", "w", encoding="utf-8") as file:
                for row, images in self._rows(built, announce, counts):
                    paths = [f"images/{path}" for path in pictures.paths(images, row["images"])]
                    file.write(line(self.layout.record(row, paths)))
        elif self.layout.files == "tiny":
            pictures = ExportedImages(folder / TINY / "images")
            records = (
                self.layout.record(
                    row,
                    [
                        {"bytes": None, "path": f"{TINY}/images/{path}"}
                        for path in pictures.paths(images, row["images"])
                    ],
                )
                for row, images in self._rows(built, announce, counts)
            )
            self._write_table(folder / "mmpr_tiny.parquet", records)
            (folder / ".mmpr_ready").write_text("ready\n", "utf-8")
        else:
            (folder / "data").mkdir()
            records = (
                self.layout.record(
                    row, [{"bytes": images.bytes_of(n), "path": images.file_name(n)} for n in row["images"]]
                )
                for row, images in self._rows(built, announce, counts)
            )
            self._write_table(folder / "data" / "train.parquet", records)
        return counts

    def _write_table(self, path: Path, records: Iterator[dict[str, object]]) -> None:
        schema = features(self.layout.name).arrow_schema

        def tables() -> Iterator[pa.Table]:
            group: list[dict[str, object]] = []
            for record in records:
                group.append(record)
                if len(group) == _GROUP:
                    yield pa.Table.from_pylist(group, schema=schema)
                    group = []
            if group:
                yield pa.Table.from_pylist(group, schema=schema)

        write_parquet(path, tables(), schema)

    def _rows(
        self, built: Built, announce: Callable[[int], None], counts: Counter[str]
    ) -> Iterator[tuple[ExportedQuestion, PublishedImages]]:
        """The questions that are kept, with the images of their shard; of the others, why not is counted."""
        for shard in range(built.shards):
            with TemporaryDirectory(prefix="mmpr-") as place:
                images = PublishedImages(built.fetch("images", shard, Path(place)))
                for batch in record_batches(built.fetch("questions", shard, Path(place)), list(_COLUMNS)):
                    for row in batch.to_pylist():
                        reason = self._left_out(row)
                        counts[reason or "prompts"] += 1
                        if reason is None:
                            yield row, images
            announce(shard + 1)

    def _left_out(self, row: ExportedQuestion) -> str | None:
        checked = row["correct"] + row["incorrect"] + row["unparseable"]
        if not row["question_id"] or row["kind"] == "none" or row["answer"] is None:
            return "no_gold"
        if not checked:
            return "no_checked_rollouts"
        if row["prompt"].count(IMAGE_MARK) != len(row["images"]):
            return "image_marks_differ_from_images"
        if self.layout.one_image and (reason := follows_on(row) or (len(row["images"]) != 1 and "not_one_image")):
            return reason
        rate = row["correct"] / checked
        return "below_solve_rate" if rate < self.low else "above_solve_rate" if rate > self.high else None

    def usage(self, dest: Path) -> str:
        """How a trainer opens it."""
        how = self.layout.how_to_open(dest)
        return f"# Prompts for online RL, solve rate {self.low:g} to {self.high:g}\n\n{how}"


def configured(solve_rate: str = "0.2:0.8", layout: str = "parquet") -> RlPrompts:
    """The export with its options: a range of solve rates, and one of LAYOUTS. Raises ConfigError."""
    low, _, high = solve_rate.partition(":")
    try:
        bounds = float(low or 0), float(high or 1)
    except ValueError:
        bounds = (2.0, 0.0)
    if not 0 <= bounds[0] <= bounds[1] <= 1:
        raise ConfigError(f"{solve_rate!r} is no range of solve rates.", remedy="Give LOW:HIGH from 0 to 1: 0.2:0.8.")
    if layout not in LAYOUTS:
        raise ConfigError(f"There is no layout {layout!r} of RL prompts.", remedy=f"Use one of: {', '.join(LAYOUTS)}.")
    return RlPrompts(*bounds, LAYOUTS[layout])


write = RlPrompts().write
"""As a format of the registry, with the default options."""

usage = RlPrompts().usage
"""As a format of the registry."""
