"""Readers of question sources side by side: ours, bare `datasets` and bare `webdataset`, on the same generated files.

    .venv/bin/python bench/sources.py [--rows 1000] [--repeats 2]

Each contender reads all rows of a format, in a process of its own, on one core; the best of the repeats counts. Every
image is decoded. Ours gives
checked questions (size limits, checksums, orientation, sha256, gold brought into form), `+ pixels` decodes them to RGB
besides, which is what the others do and all that they do.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = "{id: id, question: question, image: image, choices: choices, answer: answer}"
TAR_COLUMNS = "{id: __key__, question: json.question, image: jpg;png, choices: json.choices, answer: json.answer}"
DECLARATION = (
    "name: bench\ndescription: Generated.\nkind: choice\nanswer_form: index\nfiles: {files}\ncolumns: {columns}\n"
)
FORMATS = {
    "parquet": ("rows.parquet", COLUMNS, ""),
    "jsonl": ("rows.jsonl", COLUMNS, ""),
    "zip": ("zip/rows.jsonl", COLUMNS, "archives: zip/images.zip\n"),
    "tar": ("rows.tar", TAR_COLUMNS, ""),
}
CONTENDERS = {
    "parquet": ("ours", "ours + pixels", "datasets, streaming", "datasets, in memory"),
    "jsonl": ("ours", "ours + pixels", "datasets, streaming"),
    "zip": ("ours", "ours + pixels"),
    "tar": ("ours", "ours + pixels", "webdataset"),
}


def image_of(number: int) -> tuple[str, bytes]:
    """A photograph-like JPEG of 640 x 480, or a chart-like PNG of 600 x 400, in turns."""
    buffer = io.BytesIO()
    random = np.random.default_rng(number)
    if number % 2:
        coarse = PIL.Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        picture = np.asarray(coarse.resize((640, 480), PIL.Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = picture + random.normal(0, 6, picture.shape).astype(np.int16)
        PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        return "jpg", buffer.getvalue()
    chart = PIL.Image.new("RGB", (600, 400), "white")
    draw = PIL.ImageDraw.Draw(chart)
    for bar, height in enumerate(random.integers(20, 360, 12)):
        colour = tuple(int(part) for part in random.integers(0, 220, 3))
        draw.rectangle((20 + bar * 48, 380 - int(height), 56 + bar * 48, 380), fill=colour, outline="black")
        draw.text((24 + bar * 48, 384), f"{height}", fill="black")
    chart.save(buffer, "PNG")
    return "png", buffer.getvalue()


def write(folder: Path, rows: int) -> None:
    """The same rows as Parquet with image structs, JSON lines with files or with a zip, and a WebDataset tar."""
    (folder / "images").mkdir()
    (folder / "zip").mkdir()
    table, lines = [], []
    with (
        tarfile.open(folder / "rows.tar", "w") as tar,
        zipfile.ZipFile(folder / "zip" / "images.zip", "w") as archive,
    ):
        for number in range(rows):
            kind, data = image_of(number)
            name = f"images/{number}.{kind}"
            told = {"id": f"q{number}", "question": f"Which bar of {number} is highest?",
                    "choices": ["red", "blue", "green", "grey"], "answer": number % 4}  # fmt: skip
            (folder / name).write_bytes(data)
            archive.writestr(name, data)
            table.append({**told, "image": {"bytes": data, "path": None}})
            lines.append(json.dumps({**told, "image": name}))
            for ending, content in ((kind, data), ("json", json.dumps(told).encode())):
                member = tarfile.TarInfo(f"{number:06d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    pq.write_table(pa.Table.from_pylist(table), folder / "rows.parquet", row_group_size=500)
    absolute = [line.replace('"images/', f'"{folder}/images/') for line in lines]
    (folder / "absolute.jsonl").write_text("\n".join(absolute) + "\n")
    for place in (folder, folder / "zip"):
        (place / "rows.jsonl").write_text("\n".join(lines) + "\n")
    for format, (files, columns, more) in FORMATS.items():
        (folder / f"{format}.yaml").write_text(DECLARATION.format(files=files, columns=columns) + more)


def read(contender: str, format: str, folder: Path) -> Generator[Any, None, None]:
    """Nothing once, when all is imported, then the rows as one contender reads them, images decoded."""
    path = str(folder / FORMATS[format][0])
    if contender.startswith("ours"):
        from mmpr_pipeline.core.records import Question
        from mmpr_pipeline.sources import open_source
        from mmpr_pipeline.sources.images.load import decode

        source = open_source(str(folder / f"{format}.yaml"))
        yield
        index = source.index()
        for question in source.read(index, 0, index.rows):
            assert isinstance(question, Question), question
            yield decode(question.images[0]) if contender.endswith("pixels") else question
    elif contender == "webdataset":
        import webdataset

        found = webdataset.WebDataset(path, shardshuffle=False).decode("pil")
        yield
        for sample in found:
            yield sample.get("jpg") or sample["png"]
    else:
        yield from _datasets(contender, format, path)


def _datasets(contender: str, format: str, path: str) -> Iterator[Any]:
    import datasets

    datasets.disable_progress_bars()
    kind = {"parquet": "parquet", "jsonl": "json"}[format]
    path = path.replace("rows.jsonl", "absolute.jsonl")  # paths within rows have to be absolute for it
    yield
    rows = datasets.load_dataset(kind, data_files=path, split="train", streaming=contender.endswith("streaming"))
    for row in rows.cast_column("image", datasets.Image()):
        yield row["image"].convert("RGB")


def measure(contender: str, format: str, folder: Path) -> dict[str, float]:
    """Rows, wall and processor seconds, and the peak of memory in MB beyond what was there before."""
    import gc

    first = read(contender, format, folder)
    next(first), next(first)  # whatever is imported or opened for the first time
    first.close()
    rows = read(contender, format, folder)
    next(rows)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in rows)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"rows": count, "wall": wall, "cpu": cpu, "memory": grown / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        contender, format, folder = options.one
        print(json.dumps(measure(contender, format, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.rows)
        size = sum(path.stat().st_size for path in (folder / "images").iterdir())
        print(f"{options.rows} rows, {size / options.rows / 1000:.0f} kB an image\n")
        print("| format | reader | rows/s | rows/cpu s | memory MB |\n|---|---|---|---|---|")
        for format, contenders in CONTENDERS.items():
            for contender in contenders:
                told = _run(contender, format, folder, options.rows)
                by_clock, by_cpu = told["rows"] / told["wall"], told["rows"] / told["cpu"]
                print(
                    f"| {format} | {contender} | {by_clock:,.0f} | {by_cpu:,.0f} | {told['memory']:.0f} |", flush=True
                )


def _run(contender: str, format: str, folder: Path, rows: int) -> dict[str, float]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "ARROW_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    kept = {**os.environ, **threads, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "--one", contender, format, str(folder)]
    ran = subprocess.run(command, env=kept, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{contender} on {format}:\n{ran.stderr[-2000:]}")
    told: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    if told["rows"] != rows:
        raise SystemExit(f"{contender} on {format} read {told['rows']} of {rows} rows.")
    return told


if __name__ == "__main__":
    main()
