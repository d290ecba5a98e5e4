"""The dataset as the formats read it: shard by shard, pairs with the images that they name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, sound_file
from mmpr_pipeline.dataset.publish.parquet import PublishedImages
from mmpr_pipeline.models.messages import IMAGE_MARK, TURN_MARK
from mmpr_pipeline.storage import Store

TRAIN_FILE = "train.jsonl"
"""The file of pairs, in the formats that have one."""

PAIR_COLUMNS = ("prompt", "chosen", "rejected", "images", "pair_id", "source", "source_id", "strategy", "answer")


class ExportedPair(TypedDict):
    """A pair as the formats read it: PAIR_COLUMNS. `images` holds the sha256 of each."""

    prompt: str
    chosen: str
    rejected: str
    images: list[str]
    pair_id: str
    source: str
    source_id: str
    strategy: str
    answer: str | None


class ExportedQuestion(TypedDict):
    """A question as the exports for online RL read it, with the counts of its rollouts."""

    question_id: str
    source: str
    source_id: str
    prompt: str
    images: list[str]
    text: str
    answer: str | None
    answers: list[str]
    kind: str
    choices: list[str]
    unit: str | None
    precision: float | None
    language: str
    correct: int
    incorrect: int
    unparseable: int


@dataclass(frozen=True)
class Built:
    """A finished dataset, its number of shards, and the name of the folder that it is exported into."""

    store: Store
    shards: int
    name: str
    hashes: Mapping[str, str]
    """sha256 of each data file, by its key; a file that has another raises DatasetError."""

    @contextmanager
    def opened(self, shard: int) -> Iterator[tuple[Path, PublishedImages]]:
        """The file of a shard's pairs, and its images."""
        with TemporaryDirectory(prefix="mmpr-") as folder:
            pairs, images = (self.fetch(kind, shard, Path(folder)) for kind in ("pairs", "images"))
            yield pairs, PublishedImages(images)

    def rows(self, announce: Callable[[int], None]) -> Iterator[tuple[ExportedPair, PublishedImages]]:
        """Every pair, as a dict of PAIR_COLUMNS, with the images of its shard. Memory holds one batch."""
        for shard in range(self.shards):
            with self.opened(shard) as (pairs, images):
                for batch in record_batches(pairs, list(PAIR_COLUMNS)):
                    for row in batch.to_pylist():
                        yield row, images
            announce(shard + 1)

    def tiles(self) -> dict[str, int]:
        """Most tiles of an image that the questions of each source may use."""
        most: Counter[str] = Counter()
        for shard in range(self.shards):
            with TemporaryDirectory(prefix="mmpr-") as folder:
                path = self.fetch("questions", shard, Path(folder))
                for batch in record_batches(path, ["source", "tiles"]):
                    for source, tiles in zip(*(batch[name].to_pylist() for name in ("source", "tiles")), strict=True):
                        most[source] = max(most[source], tiles)
        return dict(most)

    def fetch(self, kind: str, shard: int, folder: Path) -> Path:
        """A data file of a shard, on this machine. Raises DatasetError where it is not what its manifest says."""
        key = layout.shard_key(kind, shard, self.shards)
        return sound_file(self.store, key, self.hashes[key], folder)


class ExportedImages:
    """Image files, each written once under its sha256: `images/ab/abcd....png`, as no folder likes a million files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def paths(self, images: PublishedImages, names: list[str]) -> list[str]:
        """Paths of some images below the folder; those not yet there are written."""
        paths = []
        for name in names:
            paths.append(path := f"{name[:2]}/{images.file_name(name)}")
            target = self._folder / path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(images.bytes_of(name))
        return paths


def write_pairs(
    built: Built,
    folder: Path,
    announce: Callable[[int], None],
    record: Callable[[ExportedPair, list[str]], Mapping[str, object]],
) -> Counter[str]:
    """Write `train.jsonl`, one `record` a pair, and `images/`; returns the counts, those left out by reason.

    `record` gets a row and the paths of its images below `folder`. A pair that is `misplaced` is left out.
    """
    counts: Counter[str] = Counter()
    pictures = ExportedImages(folder / "images")
    with open(folder / TRAIN_FILE, "w", encoding="utf-8") as file:
        for row, images in built.rows(announce):
            if reason := misplaced(row):
                counts[reason] += 1
                continue
            paths = [f"images/{path}" for path in pictures.paths(images, row["images"])]
            file.write(line(record(row, paths)))
            counts["pairs"] += 1
    return counts


def misplaced(row: ExportedPair) -> str | None:
    """Why a format that finds its images by marks in the text cannot hold a pair; None where it can.

    Such trainers count the marks over all of a conversation: one that a model wrote itself would take an image's place.
    """
    if IMAGE_MARK in row["chosen"] or IMAGE_MARK in row["rejected"]:
        return "image_mark_in_response"
    return None if row["prompt"].count(IMAGE_MARK) == len(row["images"]) else "image_marks_differ_from_images"


def follows_on(row: ExportedPair | ExportedQuestion) -> str | None:
    """Why a format that holds one question and no turns before it cannot hold a pair; None where it can."""
    return "turns_before_the_question" if row["prompt"].startswith(TURN_MARK) else None


def line(value: Mapping[str, object]) -> str:
    """A line of JSON Lines. Line separators of Unicode are escaped: some readers split at them."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085") + "\n"
