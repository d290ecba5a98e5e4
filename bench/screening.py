"""What screening costs: looking at rows, comparing them with evaluation rows, deciding on millions of them.

    python bench/screening.py [--rows 2000] [--evaluation 1000 10000] [--millions 1 3] [--json FILE]
    python bench/screening.py --images FOLDER...        # how far apart the hashes of real images and their copies are

*Looking* reads rows of a Parquet file with a JPEG photograph (640 x 480, noise and shapes) or a PNG figure (360 x 280)
in each, in this process, on one core, as one task of a build does. *bytes only* is what a build does that compares with
no evaluation set: images are not decoded. *Deciding* is what the driver does when all rows were looked at: it reads
their pieces, one row in a hundred a duplicate, in a process of its own whose peak of resident memory, less what the
imports take, is told. Times are CPU times, which other work on the machine moves little.
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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from mmpr_pipeline.screening.chunks import KEYS, chunks_of, hash_keys, write_chunk
from mmpr_pipeline.screening.contamination import EvaluationRows, Hasher, Sketch
from mmpr_pipeline.screening.likeness import VIEWS, WORDS, distances, perceptual_hash, shingles, split_words
from mmpr_pipeline.screening.merge import Screened, merge_chunks
from mmpr_pipeline.screening.settings import ScreeningSettings, Share
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
        tokens = split_words(question(10_000_000 + i))
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
                hash_keys(source, index, 0, rows, against)
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


def far(folders: list[Path]) -> None:
    """How far apart different images of each folder are, and copies of every third of all of them."""
    hashes = {folder: [perceptual_hash(path.read_bytes()) for path in sorted(folder.iterdir())] for folder in folders}
    copied: dict[str, list[int]] = {}
    for folder, found in hashes.items():
        known = np.stack([one for one in found if one is not None])
        bits = np.stack([distances(one, known) for one in known])[np.triu_indices(len(known), 1)]
        within = {most: int((bits <= most).sum()) for most in (16, 40)}
        print(folder, f"{len(known)} images, {len(bits)} pairs, nearest {bits.min()} bits, within {within}", flush=True)
        for path, one in list(zip(sorted(folder.iterdir()), found, strict=True))[::3]:
            for name, copy in copies(Image.open(path).convert("RGB")) if one is not None else ():
                other = perceptual_hash(copy)
                apart = 256 if other is None else int(distances(one, other[None])[0])
                copied.setdefault(name, []).append(apart)
    for name, counts in copied.items():
        (median, most), bits = np.percentile(counts, [50, 95]), np.array(counts)
        shares = f"within 16 {np.mean(bits <= 16):.1%}, within 40 {np.mean(bits <= 40):.1%}"
        print(f"{name}: {len(counts)} images, median {median:.0f} bits, 95% below {most:.0f}, {shares}")


def copies(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """What happens to images on their way."""
    width, height = image.size

    def scaled(factor: float) -> Image.Image:
        return image.resize((max(1, int(width * factor)), max(1, int(height * factor))), Image.Resampling.BICUBIC)

    cut = max(1, int(min(width, height) * 0.02))
    wider = Image.new("RGB", (width + width // 5, height + height // 8), image.getpixel((0, 0)))
    wider.paste(image, (width // 10, height // 16))
    yield "half the size", saved(scaled(0.5))
    yield "1.7 times the size", saved(scaled(1.7))
    yield "JPEG, quality 85", saved(image, "JPEG", quality=85)
    yield "JPEG, quality 50", saved(image, "JPEG", quality=50)
    yield "two thirds, JPEG 60", saved(scaled(2 / 3), "JPEG", quality=60)
    yield "2% cut off each side", saved(image.crop((cut, cut, width - cut, height - cut)))
    yield "a margin of 10% and 6% added", saved(wider)


def saved(image: Image.Image, format: str = "PNG", **options: int) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decide(millions: float) -> dict[str, Any]:
    """Time and memory of the decision on so many million rows; to be run in a process of its own."""
    rows = int(millions * 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        pieces = chunks_of("keys", 0, "made", rows)
        rng = np.random.default_rng(0)
        for piece in pieces:
            keys = rng.bytes(16 * (piece.stop - piece.start))
            raw = [keys[i : i + 16] for i in range(0, len(keys), 16)]
            raw[::100] = [b"0" * 16] * len(raw[::100])
            none = [None] * len(raw)
            ids = [str(piece.start + i) for i in range(len(raw))]
            write_chunk(store, piece.key, pa.table([raw, [key[:8] for key in raw], ids, none, none, none, none], KEYS))
        before = resident()
        begun = time.process_time()
        report = merge_chunks(store, [Screened("made", pieces, Share(weight=0.5))], [], ScreeningSettings(),
                       512, {"against": {}, "unchecked": {}})  # fmt: skip
        seconds = time.process_time() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        duplicates = report["sources"]["made"]["duplicate_question"]
        return {"rows": rows, "CPU s": seconds, "MB more than before": peak - before, "duplicates": duplicates}


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
    parser.add_argument("--images", type=Path, nargs="+", help="folders of images: how far apart their hashes are")
    given = parser.parse_args()
    if given.images:
        far(given.images)
        return
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
