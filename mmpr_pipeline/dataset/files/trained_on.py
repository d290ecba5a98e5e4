"""What a model was trained on, kept beside its weights: so that an evaluation can tell which rows it has seen.

Only 64-bit hashes are kept, of question ids, of images and of wordings: some megabytes for a million questions, and
nobody's data.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.summary import shards_of
from mmpr_pipeline.storage import open_store

FILE = "mmpr_trained_on.npz"
_NOT_WORD = re.compile(r"[\W_]+")
_COLUMNS = ["question_id", "images", "question"]


@dataclass(frozen=True)
class TrainedOn:
    """Sorted hashes (uint64) of what a model has seen."""

    questions: np.ndarray
    images: np.ndarray
    wordings: np.ndarray

    def question(self, question: Question) -> bool:
        """Whether this very question was trained on: the same source, images and text."""
        return _has(self.questions, _of_hex(question.question_id))

    def image(self, question: Question) -> bool:
        """Whether one of its images was, byte for byte."""
        return any(_has(self.images, _of_hex(image.sha256)) for image in question.images)

    def wording(self, question: Question) -> bool:
        """Whether its wording was, whatever the image: letters, digits and order of words."""
        return _has(self.wordings, _of_text(question.text))


def write_trained_on(data: str, folder: Path, base: Path | None = None) -> TrainedOn:
    """Write what the pairs of a built dataset ask beside the weights in `folder`; what `base` had seen stays seen.

    Raises DatasetError where the dataset is not finished.
    """
    store = open_store(data)
    shards = shards_of(store)
    found: tuple[set[int], set[int], set[int]] = (set(), set(), set())
    for shard in range(shards):
        for batch in record_batches(store.local_copy(layout.shard_key("pairs", shard, shards))):
            columns = [batch[name].to_pylist() for name in _COLUMNS]
            found[0].update(map(_of_hex, columns[0]))
            found[1].update(_of_hex(image) for images in columns[1] for image in images)
            found[2].update(map(_of_text, columns[2]))
    before = read_trained_on(base) if base else None
    parts = [np.array(sorted(part), np.uint64) for part in found]
    if before:
        parts = [
            np.union1d(a, b) for a, b in zip(parts, (before.questions, before.images, before.wordings), strict=True)
        ]
    made = TrainedOn(*parts)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, questions=made.questions, images=made.images, wordings=made.wordings)
    (folder / FILE).write_bytes(buffer.getvalue())
    return made


def read_trained_on(model: str | Path) -> TrainedOn | None:
    """What the model in a directory was trained on, as its export says; None where it says nothing.

    Raises DatasetError where the file is damaged.
    """
    path = Path(model).expanduser() / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            return TrainedOn(*(kept[name].astype(np.uint64) for name in ("questions", "images", "wordings")))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} is damaged: {error}", remedy="Export the model again.") from None


def _has(kept: np.ndarray, value: int) -> bool:
    at = int(np.searchsorted(kept, np.uint64(value)))
    return at < len(kept) and int(kept[at]) == value


def _of_hex(digest: str) -> int:
    return int(digest[:16], 16)


def _of_text(text: str) -> int:
    plain = _NOT_WORD.sub(" ", text.lower()).strip()
    return int.from_bytes(hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
