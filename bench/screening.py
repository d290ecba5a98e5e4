"""What screening costs: looking at rows, comparing them with evaluation rows, deciding on millions of them.

    python bench/screening.py [--rows 2000] [--evaluation 1000 10000] [--millions 1 3] [--json FILE]

*Looking* reads rows of a Parquet file with a JPEG photograph (640 x 480, noise and shapes) or a PNG figure (360 x 280)
in each, in this process, on one core, as one task of a build does. *bytes only* is what a build does that compares with
no evaluation set: images are not decoded. *Deciding* is what the driver does when all rows were looked at: it reads
their pieces, one row in a hundred a duplicate, in a process of its own whose peak of resident memory, less what the
imports take, is told.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from mmpr_pipeline.config import ScreeningSettings, Share
from mmpr_pipeline.screening.contamination import EvaluationRows, Hasher, Sketch
from mmpr_pipeline.screening.merge import Screened, merge
from mmpr_pipeline.screening.phash import VIEWS, WORDS
from mmpr_pipeline.screening.pieces import KEYS, look_at_keys, pieces_of, write_table
from mmpr_pipeline.screening.shingles import shingles, words
from mmpr_pipeline.sources import Source, open_source
from mmpr_pipeline.storage import open_store

DECLARATION = """
name: {name}
description: Made for the benchmark.
files: {name}.parquet
kind: number
columns: {{id: id, question: question, answer: answer, image: image}}
"""
WORDS_OF = ["angle", "circle", "chord", "side", "length", "area", "tangent", "figure", "square", "triangle", "point"]


def picture(kind: str, seed: int) -> bytes:
    """A photograph-like JPEG or a figure-like PNG."""
    rng = random.Random(seed)
    size = (640, 480) if kind == "jpeg" else (360, 280)
    image = Image.new("RGB", size, "white")
    if kind == "jpeg":
        noise = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8)
        image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, r = rng.randrange(size[0]), rng.randrange(size[1]), rng.randrange(20, 120)
        draw.ellipse((x - r, y - r, x + r, y + r), outline="black", width=3)
    buffer = io.BytesIO()
    image.save(buffer, kind.upper())
    return buffer.getvalue()


def question(seed: int) -> str:
    """Twenty words."""
    rng = random.Random(seed)
    return f"In figure {seed} " + " ".join(rng.choices(WORDS_OF, k=17)) + "?"


def source_of(folder: Path, kind: str, rows: int) -> Source:
    """A source of so many rows, each with a picture of its own."""
    data = {
        "id": [str(i) for i in range(rows)],
        "question": [question(i) for i in range(rows)],
        "answer": ["1"] * rows,
        "image": [{"bytes": picture(kind, i), "path": None} for i in range(rows)],
    }
    pq.write_table(pa.table(data), folder / f"{kind}.parquet", row_group_size=256)
    (folder / f"{kind}.yaml").write_text(DECLARATION.format(name=kind))
    return open_source(str(folder / f"{kind}.yaml"))


def evaluation_of(count: int) -> EvaluationRows:
    """So many evaluation rows that are like none of the sources'."""
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**63, (count, VIEWS, WORDS), np.uint64)
    sketches = []
    for i in range(count):
        tokens = words(question(10_000_000 + i))
        images = ((hashlib.sha256(str(i).encode()).hexdigest(), hashes[i]),)
        sketches.append(Sketch("bench", i, str(i), images, shingles(tokens), len(tokens)))
    return EvaluationRows(sketches, ScreeningSettings())


def look(rows: int, evaluation: list[int]) -> list[dict[str, Any]]:
    """Rows a second of each kind of picture and each number of evaluation rows."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("jpeg", "png"):
            source = source_of(Path(folder), kind, rows)
            index = source.index()
            for count in (None, *evaluation):
                against = None if count is None else evaluation_of(count)
                begun = time.process_time()
                look_at_keys(source, index, 0, rows, against)
                found.append({"images": kind, "evaluation": count, "rows/s": rows / (time.process_time() - begun)})
                print(found[-1], flush=True)
            hasher, items = Hasher(), list(replace(source, looks=False).read(index, 0, min(rows, 500)))
            begun = time.process_time()
            for number, item in enumerate(items):
                hasher.sketch(item, number)  # type: ignore[arg-type]
            each = (time.process_time() - begun) / len(items)
            found.append({"images": kind, "sketch alone, ms": each * 1000})
            print(found[-1], flush=True)
    return found


def decide(millions: float) -> dict[str, Any]:
    """Time and memory of the decision on so many million rows; to be run in a process of its own."""
    rows = int(millions * 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        pieces = pieces_of("keys", 0, "made", rows)
        rng = np.random.default_rng(0)
        for piece in pieces:
            keys = rng.bytes(16 * (piece.stop - piece.start))
            raw = [keys[i : i + 16] for i in range(0, len(keys), 16)]
            raw[::100] = [b"0" * 16] * len(raw[::100])
            none = [None] * len(raw)
            ids = [str(piece.start + i) for i in range(len(raw))]
            write_table(store, piece.key, pa.table([raw, ids, none, none, none, none], KEYS))
        before = resident()
        begun = time.monotonic()
        report = merge(store, [Screened("made", pieces, Share(weight=0.5))], [], ScreeningSettings(),
                       {"against": {}, "unchecked": {}})  # fmt: skip
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        duplicates = report["sources"]["made"]["duplicate_question"]
        return {"rows": rows, "seconds": seconds, "MB more than before": peak - before, "duplicates": duplicates}


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--evaluation", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--millions", type=float, nargs="*", default=[1.0, 3.0])
    parser.add_argument("--decide", type=float, help="in this process: the decision on so many million rows")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.decide is not None:
        print(json.dumps(decide(given.decide)))
        return
    result: dict[str, Any] = {"looking": look(given.rows, given.evaluation) if given.rows else [], "deciding": []}
    for millions in given.millions:
        command = [sys.executable, __file__, "--decide", str(millions)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result["deciding"].append(json.loads(done.stdout))
        print(result["deciding"][-1], flush=True)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
