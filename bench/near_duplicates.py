"""Near-duplicates among made-up rows of which it is known which are alike: time, memory, recall, false ones.

    python bench/near_duplicates.py --rows 3000000

A third of the rows ask questions of a generator, word for word the same, about different pictures: the hard case, for
all of them agree in their words.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mmpr_pipeline.screening.near_duplicates import IMAGE_WORDS, MIN_HASHES, ROW, near_duplicates

SHARE, WORDS_APART = 0.05, 2
ANSWERS = 5
"""So few that the rows of one answer are many: the hard case again."""

PIECE = 2048


def write(path: Path, rows: int, bits: int, random: np.random.Generator) -> np.ndarray:
    """Write rows to a file, a part at a time; for each the earlier one that it was copied from (-1: none).

    The file stands for the pieces that a build reads, so that the memory measured is that of the search.
    """
    copied: np.ndarray = np.full(rows, -1, np.int64)
    later = np.flatnonzero(random.random(rows // 2) < 2 * SHARE) + rows // 2
    copied[later] = np.sort(random.permutation(rows // 2)[: len(later)])
    wording = random.integers(0, 2**32, MIN_HASHES, np.uint32)
    found: np.ndarray = np.memmap(path, ROW, "w+", shape=(rows,))
    for at in range(0, rows, PIECE):
        part: np.ndarray = np.zeros(min(PIECE, rows - at), ROW)
        part["image"] = random.integers(0, 2**32, (len(part), IMAGE_WORDS), np.uint32)
        part["text"] = random.integers(0, 2**32, (len(part), MIN_HASHES), np.uint32)
        part["text"][random.random(len(part)) < 1 / 3] = wording
        part["same"] = random.integers(0, ANSWERS, len(part), np.uint64)
        here = np.flatnonzero(copied[at : at + len(part)] >= 0)
        part[here] = found[copied[at + here]]
        for _ in range(bits):
            word, bit = random.integers(0, IMAGE_WORDS, len(here)), random.integers(0, 32, len(here), np.uint32)
            part["image"][here, word] ^= np.uint32(1) << bit
        for _ in range(WORDS_APART):
            part["text"][here, random.integers(0, MIN_HASHES, len(here))] ^= np.uint32(1)
        found[at : at + len(part)] = part
    found.flush()
    return copied


def parts(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers and rows, as the pieces of a build give them."""
    with path.open("rb") as file:
        at = 0
        while len(rows := np.fromfile(file, ROW, PIECE)):
            yield np.arange(at, at + len(rows)), rows
            at += len(rows)


def measure(rows: int, bits: int) -> dict[str, float]:
    """One search in this process, whose memory is measured."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        copied = write(path, rows, bits, np.random.default_rng(bits))
        peak_before = resident("VmHWM")
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
        before = resident("VmRSS")
        started, busy = time.perf_counter(), time.process_time()
        near = near_duplicates(parts(path), rows, image_bits=16, likeness=0.8)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        "rows": rows,
        "bits_apart": bits,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(busy, 1),
        "rows_a_second": round(rows / seconds),
        "recall": round(float((near.earlier == copied)[copied >= 0].mean()), 4),
        "false": int(((near.earlier >= 0) & (copied < 0)).sum()),
        "mib_before": before,
        "mib_peak": resident("VmHWM"),
        "mib_making_the_rows": peak_before,
    }


def resident(name: str) -> int:
    """MiB of this process: VmRSS now, VmHWM at most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) // 1024


def main() -> None:
    """Print one JSON line for each number of rows and bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[500_000, 1_000_000, 3_000_000])
    parser.add_argument("--bits", type=int, nargs="*", default=[8])
    chosen = parser.parse_args()
    spawn = get_context("spawn")  # each in a process of its own
    for rows in chosen.rows:
        for bits in chosen.bits:
            with spawn.Pool(1) as pool:
                print(json.dumps(pool.apply(measure, (rows, bits))), flush=True)


if __name__ == "__main__":
    main()
