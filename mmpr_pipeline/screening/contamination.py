"""When a training question is contaminated: an evaluation set has it too, or nearly so.

Three measures, the first that applies is named:

- `image`: one of its images is an image of an evaluation question, byte for byte or within `image_bits`, whatever is
  asked of it. A model that was trained on the picture has seen what the benchmark shows: DataComp (Gadre et al.
  2023) drops, and FineVision (Wiedmann et al. 2025) counts, by the image alone as well.
- `image_and_question`: the image is one within `similar_image_bits`, which different pictures of one generator can be
  too, and the question is alike as well.
- `question`: the question alone, if it is long enough to be no coincidence. GPT-3 (Brown et al. 2020) takes 13 words;
  of shorter ones, only the same words count, and only where no image says more (DeepSeekMath, Shao et al. 2024, matches
  benchmark texts of fewer words exactly). A wording that many training questions share is a template of a generator,
  and no leak: `templates` finds those when all rows are known.

A blank image tells nothing: it is taken for none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmpr_pipeline.core.records import Image, Question
from mmpr_pipeline.screening.likeness import (
    VIEWS,
    WORDS,
    Hash,
    Shingles,
    SimilarQuestions,
    distances,
    perceptual_hash,
    shingles,
    split_words,
)
from mmpr_pipeline.screening.settings import ScreeningSettings
from mmpr_pipeline.sources.images import USUAL, ImageLimits
from mmpr_pipeline.sources.images.load import load_image

Measure = Literal["image", "image_and_question", "question"]
LEAST_WORDS = 3
"""Words of a question without an image below which even the same words are a coincidence."""

_REMEMBERED = 4096


@dataclass(frozen=True)
class Sketch:
    """What is compared of a question. `images` holds the sha256 and hash of each image that is not blank."""

    source: str
    row: int
    source_id: str
    images: tuple[tuple[str, Hash], ...]
    shingles: Shingles
    words: int


@dataclass(frozen=True)
class Hit:
    """What a training question was found to be like: an evaluation row by number, and how near."""

    measure: Measure
    against: int
    bits: int | None = None
    similarity: float | None = None


class Hasher:
    """Perceptual hashes of images that were not looked into yet; neighbouring rows often share theirs, so the last few
    thousand are remembered."""

    def __init__(self, limits: ImageLimits = USUAL) -> None:
        self._known: OrderedDict[str, Hash | None] = OrderedDict()
        self._limits = limits

    def hash(self, image: Image) -> Hash | None:
        """See `perceptual_hash`. Raises ItemRejected as `load_image` does."""
        if image.sha256 in self._known:
            self._known.move_to_end(image.sha256)
            return self._known[image.sha256]
        found = self._known[image.sha256] = perceptual_hash(load_image(image.data, self._limits).data)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def sketch(self, question: Question, row: int) -> Sketch:
        """The sketch of a question in this row of its source. Raises ItemRejected where an image is none."""
        hashed = [(image.sha256, self.hash(image)) for image in question.images]
        tokens = split_words(question.text)
        telling = tuple((sha256, found) for sha256, found in hashed if found is not None)
        return Sketch(question.source, row, question.source_id, telling, shingles(tokens), len(tokens))


class EvaluationRows:
    """All evaluation questions, to be asked which of them a training question is like."""

    def __init__(self, rows: Sequence[Sketch], rules: ScreeningSettings) -> None:
        self.rows, self._rules = rows, rules
        hashes = [found for sketch in rows for _, found in sketch.images]
        self._hashes = np.stack(hashes) if hashes else np.zeros((0, VIEWS, WORDS), np.uint64)
        self._owners = np.array([n for n, sketch in enumerate(rows) for _ in sketch.images], np.int64)
        self._same: dict[str, int] = {}
        for number, sketch in enumerate(rows):
            for sha256, _ in sketch.images:
                self._same.setdefault(sha256, number)
        self._similar = SimilarQuestions(sketch.shingles for sketch in rows)
        self._near: OrderedDict[str, dict[int, int]] = OrderedDict()

    def match(self, sketch: Sketch) -> Hit | None:
        """What the question is like; None where it is like none."""
        for sha256, _ in sketch.images:
            if sha256 in self._same:
                return Hit("image", self._same[sha256], bits=0)
        near: dict[int, int] = {}
        for sha256, found in sketch.images:
            for number, bits in self._near_images(sha256, found).items():
                near[number] = min(bits, near.get(number, bits))
        nearest = min(((bits, number) for number, bits in near.items()), default=None)
        if nearest and nearest[0] <= self._rules.image_bits:
            return Hit("image", nearest[1], bits=nearest[0])
        least = self._rules.similar_question
        alike = self._similar.like(sketch.shingles, min(least, self._rules.same_question))
        both = [(near[number], -value, number) for number, value in alike if number in near and value >= least]
        if both:
            bits, value, number = min(both)
            return Hit("image_and_question", number, bits, -value)
        hits = []
        for number, similarity in alike:
            other = self.rows[number]
            fewest = min(sketch.words, other.words)
            if fewest >= self._rules.long_question:
                decides = similarity >= self._rules.same_question
            else:
                decides = similarity == 1 and fewest >= LEAST_WORDS and not sketch.images and not other.images
            if decides:
                hits.append((-similarity, number))
        if not hits:
            return None
        value, number = min(hits)
        return Hit("question", number, similarity=-value)

    def _near_images(self, sha256: str, found: Hash) -> dict[int, int]:
        """Numbers of the rows that have an image within `similar_image_bits`, and the bits."""
        if sha256 not in self._near:
            bits = distances(found, self._hashes)
            close = np.flatnonzero(bits <= max(self._rules.similar_image_bits, self._rules.image_bits))
            rows: dict[int, int] = {}
            for position in close:
                owner, apart = int(self._owners[position]), int(bits[position])
                rows[owner] = min(apart, rows.get(owner, apart))
            self._near[sha256] = rows
            if len(self._near) > _REMEMBERED:
                self._near.popitem(last=False)
        return self._near[sha256]


def templates(against: np.ndarray, keys: np.ndarray, most: int) -> np.ndarray:
    """Evaluation rows whose wording is a template: more than `most` different questions share it, and only it.

    `against`: int of shape (n,), the evaluation row of each such hit; `keys`: uint64 of shape (n, 2), the content of
    the training question. Gives the numbers, ascending.
    """
    distinct = np.unique(np.column_stack([against.astype(np.uint64), keys]), axis=0)
    numbers, counts = np.unique(distinct[:, 0], return_counts=True)
    found: np.ndarray = numbers[counts > most].astype(np.int64)
    return found
