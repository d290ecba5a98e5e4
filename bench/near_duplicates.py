"""Near-duplicates among made-up rows of which it is known which are alike: time, memory, recall, false ones.

    python bench/near_duplicates.py --rows 3000000

A third of the rows ask questions of a generator, word for word the same, about different pictures: the hard case, for
all of them agree in their words.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from mmpr_pipeline.screening.near import IMAGE_WORDS, MIN_HASHES, ROW, near_duplicates

SHARE, WORDS_APART = 0.05, 2


def made(rows: int, bits: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and for each the earlier one that it was copied from (-1: none)."""
    found: np.ndarray = np.zeros(rows, ROW)
    found["image"] = random.integers(0, 2**32, (rows, IMAGE_WORDS), np.uint32)
    found["text"] = random.integers(0, 2**32, (rows, MIN_HASHES), np.uint32)
    template = random.random(rows) < 1 / 3
    found["text"][template] = found["text"][0]
    found["same"] = random.integers(0, 5, rows, np.uint64)
    copied: np.ndarray = np.full(rows, -1, np.int64)
    later = np.flatnonzero(random.random(rows // 2) < 2 * SHARE) + rows // 2
    first = random.permutation(rows // 2)[: len(later)]
    copied[later] = first
    found[later] = found[first]
    for _ in range(bits):
        word, bit = random.integers(0, IMAGE_WORDS, len(later)), random.integers(0, 32, len(later), np.uint32)
        found["image"][later, word] ^= np.uint32(1) << bit
    for _ in range(WORDS_APART):
        found["text"][later, random.integers(0, MIN_HASHES, len(later))] ^= np.uint32(1)
    return found, copied


def main() -> None:
    """Print one JSON line for each number of bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--bits", type=int, nargs="*", default=[0, 4, 8, 16])
    given = parser.parse_args()
    for bits in given.bits:
        rows, copied = made(given.rows, bits, np.random.default_rng(bits))
        started = time.perf_counter()
        near = near_duplicates(rows, np.ones(len(rows), bool), image_bits=16, likeness=0.8)
        seconds = time.perf_counter() - started
        figures = {
            "rows": given.rows,
            "bits_apart": bits,
            "seconds": round(seconds, 1),
            "rows_a_second": round(given.rows / seconds),
            "recall": round(float((near.earlier == copied)[copied >= 0].mean()), 4),
            "false": int(((near.earlier >= 0) & (copied < 0)).sum()),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
