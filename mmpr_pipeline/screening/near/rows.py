"""What is kept of a row to tell its near-duplicates: 104 bytes.

The perceptual hash of its first image (256 bits, `phash`), 16 MinHashes of the word triples of question and choices
(A. Broder 1997), and a hash of what must be the same: its kind, its golds, its further images and, where its source
brings them, its responses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.screening.phash import BITS, Hash
from mmpr_pipeline.screening.shingles import shingles, split_words

MIN_HASHES = 16
"""MinHashes of a row."""

IMAGE_WORDS = 8
"""Words of 32 bits of an image's hash."""

ROW: np.dtype[np.void] = np.dtype([("image", "<u4", IMAGE_WORDS), ("text", "<u4", MIN_HASHES), ("same", "<u8")])
"""What is kept of a row."""

_MASKS = np.random.default_rng(20241127).integers(1, 2**63, (2, MIN_HASHES), np.uint64) | np.uint64(1)


def row_of(question: Question, image: Hash | None) -> bytes | None:
    """What is kept of a question, whose first image has this hash; None where it is compared with none.

    A question without an image, on a blank one or without a word is no near-duplicate of anything.
    """
    grams = shingles(split_words("\n".join([question.text, *question.choices])))
    if image is None or not len(grams):
        return None
    row: np.ndarray = np.zeros(1, ROW)
    row["image"][0] = image[0].view(np.uint32)
    mixed = grams[:, None] * _MASKS[0] + _MASKS[1]  # modulo 2**64: multiply-add hashing, its high bits
    row["text"][0] = (mixed >> np.uint64(32)).min(axis=0).astype(np.uint32)
    golds = [question.answer or "", *question.answers]
    if question.kind == "choice":  # the texts of the choices, for another row may list them in another order
        places = {chr(ord("A") + i): choice for i, choice in enumerate(question.choices)}
        golds = [places.get(gold, gold) for gold in golds]
    answers = sorted(" ".join(gold.lower().split()) for gold in golds)
    preset = [question.preset.chosen, question.preset.rejected] if question.preset else []
    exact = repr((question.kind, answers, [each.sha256 for each in question.images[1:]], *preset))
    row["same"][0] = int.from_bytes(hashlib.blake2b(exact.encode(), digest_size=8).digest(), "little")
    return row.tobytes()


def gathered(parts: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of what `row_of` gave, zeros where it gave none, and which are there."""
    empty = bytes(ROW.itemsize)
    there = np.array([part is not None for part in parts], bool)
    return np.frombuffer(b"".join(part or empty for part in parts), ROW), there


assert BITS == 32 * IMAGE_WORDS
