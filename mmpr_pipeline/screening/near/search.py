"""Which rows are near-duplicates: an alike picture, alike words and the same answer as an earlier row.

Rows that agree in a word of the image's hash and in a band of MinHashes are candidates (locality-sensitive hashing;
Gionis, Indyk and Motwani 1999), found by sorting, one pass for each word and band. What is decided is decided on the
whole hash and all MinHashes: candidates only decide what is looked at. Of rows that are alike the earliest stays: a row
is dropped if it is like an earlier row that is kept.

Rows of different answers are never alike, so the rows are spread over files on disk by the hash of what must be the
same, and each file is searched alone; of a large one, each pass sorts a part at a time. Memory is that of one part,
whatever the number of rows. Neither the number of files nor of parts changes what is found.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmpr_pipeline.screening.near.rows import IMAGE_WORDS, MIN_HASHES, ROW

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
