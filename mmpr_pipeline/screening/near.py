"""Near-duplicates among training rows: an alike picture, an alike question, and the same answer as an earlier row.

Every row is kept as 104 bytes: the perceptual hash of its first image (256 bits, `phash`), 16 MinHashes of the word
triples of question and choices (A. Broder 1997), and a hash of what must be the same, its answer and further images.
Rows that agree in a word of the image's hash and in a band of MinHashes are candidates (locality-sensitive hashing;
Gionis, Indyk and Motwani 1999), found by sorting, one pass for each word and band, in memory of a few arrays. What is
decided is decided on the whole hash and all MinHashes: candidates only decide what is looked at.

Of rows that are alike the earliest stays: a row is dropped if it is like an earlier row that is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.screening.phash import BITS, Hash
from mmpr_pipeline.screening.shingles import shingles, split_words

MIN_HASHES, BAND = 16, 4
"""MinHashes of a row, and of a band. A likeness of 0.9 agrees in one of the four bands in 98.6% of cases."""

IMAGE_WORDS = 8
"""Words of 32 bits of an image's hash. Of images 8 bits apart 97% agree in one, of 16 bits apart 67%."""

ROW: np.dtype[np.void] = np.dtype([("image", "<u4", IMAGE_WORDS), ("text", "<u4", MIN_HASHES), ("same", "<u8")])
"""What is kept of a row."""

NEIGHBOURS = 16
"""Rows of one candidate group that each is compared with: generators make groups of thousands that are not alike."""

_CHUNK = 1 << 18
_MASKS = np.random.default_rng(20241127).integers(1, 2**63, (2, MIN_HASHES), np.uint64) | np.uint64(1)


@dataclass(frozen=True)
class Near:
    """For each row the earlier row that it is like (-1: none), and the bits in which their images differ."""

    earlier: np.ndarray
    bits: np.ndarray


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
    answers = sorted(" ".join(gold.lower().split()) for gold in (question.answer or "", *question.answers))
    told = repr((question.kind, answers, [each.sha256 for each in question.images[1:]]))
    row["same"][0] = int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "little")
    return row.tobytes()


def near_duplicates(rows: np.ndarray, valid: np.ndarray, *, image_bits: int, likeness: float) -> Near:
    """Which rows are near-duplicates. `rows`: ROW of shape (n,); rows that are not `valid` are like none.

    `image_bits`: most bits in which the images differ; `likeness`: least share of MinHashes that agree, an estimate of
    the Jaccard index. About 160 bytes a row beside `rows`.
    """
    pairs = _alike(rows, np.flatnonzero(valid), image_bits, likeness)
    earlier: np.ndarray = np.full(len(rows), -1, np.int64)
    bits: np.ndarray = np.zeros(len(rows), np.int16)
    for first, later, apart in pairs.tolist():  # by the later row: whether the earlier one stays is known by then
        if earlier[later] < 0 and earlier[first] < 0:
            earlier[later], bits[later] = first, apart
    return Near(earlier, bits)


def _alike(rows: np.ndarray, numbers: np.ndarray, image_bits: int, likeness: float) -> np.ndarray:
    """Pairs (earlier, later, bits) of alike rows, each once, by the later and then the earlier one."""
    least = int(np.ceil(likeness * MIN_HASHES))
    found: list[np.ndarray] = [np.zeros((0, 3), np.int64)]
    for key in _keys(rows, numbers):
        order = np.argsort(key, kind="stable")  # rows of one key stay in their order
        key = key[order]
        for step in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(key[:-step] == key[step:])
            if not len(same):
                break
            for at in range(0, len(same), _CHUNK):
                part = same[at : at + _CHUNK]
                found.append(_verified(rows, numbers[order[part]], numbers[order[part + step]], image_bits, least))
    pairs = np.unique(np.concatenate(found), axis=0)
    ordered: np.ndarray = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    return ordered


def _keys(rows: np.ndarray, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """One key a row for each word of the image's hash and each band of MinHashes, mixed with what must be the same."""
    for band in range(0, MIN_HASHES, BAND):
        text = rows["same"][numbers].copy()
        for place in range(band, band + BAND):
            text = _mixed(text, rows["text"][numbers, place])
        for word in range(IMAGE_WORDS):
            yield _mixed(text, rows["image"][numbers, word])


def _mixed(key: np.ndarray, part: np.ndarray) -> np.ndarray:
    """A 64-bit hash of a 64-bit hash and a number (the finaliser of SplitMix64; Steele, Lea and Flood 2014)."""
    key = (key ^ part.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
    key ^= key >> np.uint64(27)
    key *= np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = key ^ (key >> np.uint64(31))
    return mixed


def _verified(rows: np.ndarray, one: np.ndarray, other: np.ndarray, image_bits: int, least: int) -> np.ndarray:
    """Of candidate pairs those that are alike: (earlier, later, bits)."""
    a, b = rows[one], rows[other]
    bits = np.bitwise_count(a["image"] ^ b["image"]).sum(axis=1, dtype=np.int64)
    agreeing = (a["text"] == b["text"]).sum(axis=1)
    alike = (bits <= image_bits) & (agreeing >= least) & (a["same"] == b["same"])
    found: np.ndarray = np.column_stack([np.minimum(one, other)[alike], np.maximum(one, other)[alike], bits[alike]])
    return found


def gathered(parts: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of what `row_of` gave, zeros where it gave none, and which are there."""
    empty = bytes(ROW.itemsize)
    there = np.array([part is not None for part in parts], bool)
    return np.frombuffer(b"".join(part or empty for part in parts), ROW), there


assert BITS == 32 * IMAGE_WORDS
