"""Which rows are near-duplicates: an alike picture, alike words and the same answer as an earlier row.

Rows that agree in a word of the image's hash and in a band of MinHashes are candidates (locality-sensitive hashing;
Gionis, Indyk and Motwani 1999), found by sorting, one pass for each word and band. What is decided is decided on the
whole hash and all MinHashes: candidates only decide what is looked at. Of rows that are alike the earliest stays: a row
is dropped if it is like an earlier row that is kept.

Rows of different answers are never alike, so the rows are spread over files on disk by the hash of what must be the
same, and each file is searched alone; of a large one, each pass sorts a part at a time. Memory is that of one part,
whatever the number of rows. Neither the number of files nor of parts changes what is found.

What is kept of a row takes 104 bytes: the perceptual hash of its first image (256 bits, `likeness`), 16 MinHashes of
the word triples of question and choices (A. Broder 1997), and a hash of what must be the same: its kind, its golds, its
further images and, where its source brings them, its responses.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.screening.likeness import BITS, Hash, shingles, split_words

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


# ---- which rows are alike

BAND = 4
"""MinHashes of a band. A likeness of 0.9 agrees in one of the four bands in 98.6% of cases; of images 8 bits apart 97%
agree in a word, of images 16 bits apart 67%."""

NEIGHBOURS = 16
"""Rows of one candidate group that each is compared with: generators make groups of thousands that are not alike."""

FILES = 64
"""Files that the rows are spread over."""

PART = 1 << 18
"""Rows that are sorted at once, about; a group of candidates is not divided."""

_CHUNK = 1 << 16
_KEPT: np.dtype[np.void] = np.dtype([("number", "<i8"), ("row", ROW)])
_BUFFERED = 1 << 18


@dataclass(frozen=True)
class Near:
    """For each row the earlier row that it is like (-1: none), the bits in which their images differ, and the share of
    their MinHashes that agree, an estimate of the Jaccard index of their words."""

    earlier: np.ndarray
    bits: np.ndarray
    likeness: np.ndarray


def near_duplicates(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], total: int, *, image_bits: int, likeness: float
) -> Near:
    """The near-duplicates among `total` rows. `parts`: numbers, ascending, and rows (ROW) of those that are compared.

    `image_bits`: most bits in which the images differ; `likeness`: least share of MinHashes that agree.
    """
    near = Near(np.full(total, -1, np.int64), np.zeros(total, np.int16), np.zeros(total, np.float32))
    least = int(np.ceil(likeness * MIN_HASHES))
    with tempfile.TemporaryDirectory(prefix="mmpr-near-") as folder:
        # The rows in files by what must be the same, each in their order.
        spread_folder = Path(folder)
        paths = [spread_folder / f"{i:03d}" for i in range(FILES)]
        files = [path.open("wb", _BUFFERED) for path in paths]
        try:
            for numbers, rows in parts:
                kept: np.ndarray = np.empty(len(rows), _KEPT)
                kept["number"], kept["row"] = numbers, rows
                place = rows["same"] % np.uint64(FILES)
                for i in np.unique(place).tolist():
                    files[i].write(kept[place == i].tobytes())
        finally:
            for part in files:
                part.close()
        for file in paths:
            pairs = _alike(file, image_bits, least)
            for first, later, bits, agreeing in pairs.tolist():  # whether the earlier one stays is known by then
                if near.earlier[later] < 0 and near.earlier[first] < 0:
                    near.earlier[later], near.bits[later] = first, bits
                    near.likeness[later] = agreeing / MIN_HASHES
            file.unlink()
    return near


def _alike(path: Path, image_bits: int, least: int) -> np.ndarray:
    """Pairs (earlier, later, bits, MinHashes that agree) of alike rows of a file, by the later and then the earlier."""
    count = path.stat().st_size // _KEPT.itemsize
    found: np.ndarray = np.zeros((0, 4), np.int64)
    for band in range(0, MIN_HASHES, BAND):
        for word in range(IMAGE_WORDS):
            pairs = [found]
            for keys, kept in _parts(path, count, band, word):
                pairs += _of_one_key(keys, kept, image_bits, least)
            found = np.unique(np.concatenate(pairs), axis=0)
    ordered: np.ndarray = found[np.lexsort((found[:, 0], found[:, 1]))]
    return ordered


def _parts(path: Path, count: int, band: int, word: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The keys and rows of a file, a part at a time; rows of one key are all in one part, in their order."""
    of = np.uint64(-(-count // PART))
    for part in range(int(of)):
        chosen_keys, chosen = [], []
        with path.open("rb") as file:
            while len(kept := np.fromfile(file, _KEPT, _CHUNK)):
                # One key a row of a band of MinHashes and a word of the image's hash, mixed with what must be the same.
                keys = kept["row"]["same"].copy()
                for place in range(band, band + BAND):
                    keys = _mixed(keys, kept["row"]["text"][:, place])
                keys = _mixed(keys, kept["row"]["image"][:, word])
                mine = keys % of == part
                chosen_keys.append(keys[mine])
                chosen.append(kept[mine])
        yield np.concatenate(chosen_keys), np.concatenate(chosen)


def _of_one_key(keys: np.ndarray, kept: np.ndarray, image_bits: int, least: int) -> Iterator[np.ndarray]:
    """Those that are alike among rows of equal keys, each with the few that follow it: (earlier, later, bits, agreeing
    MinHashes).
    """
    order = np.argsort(keys, kind="stable")  # rows of one key stay in their order
    keys = keys[order]
    for step in range(1, min(NEIGHBOURS, len(keys) - 1) + 1):
        same = np.flatnonzero(keys[:-step] == keys[step:])
        if not len(same):
            return
        for at in range(0, len(same), _CHUNK):
            part = same[at : at + _CHUNK]
            one, other = kept[order[part]], kept[order[part + step]]
            a, b = one["row"], other["row"]
            bits = np.bitwise_count(a["image"] ^ b["image"]).sum(axis=1, dtype=np.int64)
            agreeing = (a["text"] == b["text"]).sum(axis=1)
            alike = (bits <= image_bits) & (agreeing >= least) & (a["same"] == b["same"])
            yield np.column_stack(
                [one["number"][alike], other["number"][alike], bits[alike], agreeing[alike].astype(np.int64)]
            )


def _mixed(key: np.ndarray, part: np.ndarray) -> np.ndarray:
    """A 64-bit hash of a 64-bit hash and a number (the finaliser of SplitMix64; Steele, Lea and Flood 2014)."""
    key = (key ^ part.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
    key ^= key >> np.uint64(27)
    key *= np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = key ^ (key >> np.uint64(31))
    return mixed
