"""Prompts for online RL: the questions of a build whose stored rollouts were right in some share of cases.

The second product of the same rollouts: a question that the policy always or never solves teaches nothing online. Each
row has the prompt, its images, the gold and what else the checker takes, the solve rate and its counts; beside the rows
lies `reward.py`, which is the checker in the shape that the trainer calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.dataset.export.built import Built, ExportedImages, ExportedQuestion, follows_on, line
from mmpr_pipeline.dataset.export.rl.layouts import LAYOUTS, TINY, Layout, features
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.publish.parquet import PublishedImages, write_parquet
from mmpr_pipeline.models.conversation import IMAGE_MARK

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
