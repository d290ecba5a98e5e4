"""Golden builds: what a build writes is pinned, so that a change of code that changes one row of it is noticed.

Each build has two digests. `rows` covers every row and every count but the checker's version, and holds on any machine.
`files` covers the bytes of the shards, and holds with the pinned version of pyarrow. Where a change is meant, run
`python -m tests.pipeline.test_golden` and replace the digests, in a commit that says why.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL
import pyarrow as pa
import pytest

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.output import finish
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.workers.shard import work_shard
from mmpr_pipeline.storage import Store, open_store

PYARROW = "26."
"""The files were pinned with this version."""
PILLOW = "13."
"""The pictures of `embedded` were drawn with this version; another may draw other bytes."""
SHARDS = 2
DECLARATION = """
name: {name}
description: Questions for golden builds.
files: {name}.jsonl
columns: {{id: id, question: question, image: image, answer: answer, choices: choices{more}}}
kind: {{column: kind}}
answer_form: letter
text_only: true
"""


def picture(number: int) -> bytes:
    """A PNG of one pixel, stored without compression: the same bytes whatever library is installed."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(bytes([0, number * 40 % 256, 90, 200]), 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def make_rows() -> list[dict[str, Any]]:
    """Rows of several kinds and languages; one repeats a question, and the last two lack an answer and an image."""
    rows: list[dict[str, Any]] = []
    for i in range(24):
        row = {"id": f"q{i}", "image": f"{i % 5}.png", "answer": str(i % 7), "kind": "number"}
        row["question"] = f"How many dots are in picture {i}?" if i % 3 else f"图{i}中有多少个点?"
        if i % 4 == 0:
            row |= {"kind": "choice", "choices": ["red", "green", "blue"], "answer": "B"}  # type: ignore[dict-item]
        if i % 6 == 5:
            row |= {"kind": "none", "answer": None, "question": f"Describe picture {i} in detail."}  # type: ignore[dict-item]
        rows.append(row)
    broken = [{"id": "late", "answer": None}, {"id": "gone", "image": "gone.png"}]
    return [*rows[:3], rows[1] | {"id": "again"}, *rows[3:], *(rows[2] | change for change in broken)]  # type: ignore[operator]


def make_source(folder: Path, name: str, more: str = "") -> str:
    """A source in `folder`; returns the path of its declaration."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(5):
        (folder / f"{i}.png").write_bytes(picture(i))
    rows = make_rows()
    if more:
        rows = [row | {"good": f"It is {row['answer']}.", "bad": f"Perhaps {i}."} for i, row in enumerate(rows)]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    declaration = folder / f"{name}.yaml"
    declaration.write_text(DECLARATION.format(name=name, more=more))
    return str(declaration)


def finished(plan: Plan, engine: Any) -> Store:
    """Carry out a plan in this process, without Ray; returns the output."""
    store = open_store(plan.config.out)
    described = {"digest": plan.digest, "identity": plan.identity, "sources": plan.described_sources}
    store.write(layout.CONFIG, json_bytes({**described, "config": plan.config.model_dump(mode="json")}))

    async def work() -> None:
        for shard in range(plan.config.shards):
            await work_shard(plan, shard, engine, lambda tally: None)

    asyncio.run(work())
    finish(store, plan, {"shards": plan.config.shards})
    problems = verify(plan.config.out).problems
    assert problems == [], problems
    return store


def built(source: str, out: str, engine: str, **settings: Any) -> Store:
    """A finished build of one source."""
    given = {"sources": [source], "out": out, "shards": SHARDS, "seed": 3, "engine.name": engine, **settings}
    plan = make_build_plan(load_config(None, {**given, "screening.decontaminate": False}))
    return finished(plan, None if plan.config.preset else make_engine(plan.config.engine))


def sampled(folder: Path, out: str) -> Store:
    """Adaptive rounds; correctness and DropNTP pairs."""
    script = {"solve_rate": 0.5, "extremes": 0.4, "variety": 40}
    settings = {"engine.script": script, "sampling.samples": 16, "pairing.max_pairs": 6}
    return built(make_source(folder / "source", "sampled"), out, "scripted", **settings)


def flat(folder: Path, out: str) -> Store:
    """The paper's flat sampling, with another prompt style."""
    settings = {"sampling.adaptive": False, "sampling.samples": 8, "sampling.style": "cot-boxed"}
    return built(make_source(folder / "source", "flat"), out, "scripted", **settings)


def preset(folder: Path, out: str) -> Store:
    """Pairs that the source brings."""
    return built(make_source(folder / "source", "preset", ", chosen: good, rejected: bad"), out, "given")


def rebuilt(folder: Path, out: str) -> Store:
    """Pairs made again from stored rollouts, by another rule."""
    sampled(folder, str(folder / "before"))
    return finished(make_rebuild_plan(str(folder / "before"), {"out": out, "pairing.max_pairs": 2, "seed": 5}), None)


def embedded(folder: Path, out: str) -> Store:
    """`examples/nano.yaml`: its generated sources, prompts and seeds, answered from a script instead of by the model,
    whose texts are those of one kind of processor."""
    example = Path(__file__).parents[2] / "examples" / "nano.yaml"
    script = {"solve_rate": 0.5, "extremes": 0.4, "variety": 40}
    settings = {"out": out, "limit": 6, "engine.name": "scripted", "engine.script": script}
    plan = make_build_plan(load_config(str(example), {**settings, "screening.decontaminate": False}))
    return finished(plan, make_engine(plan.config.engine))


BUILT = (sampled, flat, preset, rebuilt, embedded)
BUILDS: dict[str, Callable[[Path, str], Store]] = {build.__name__: build for build in BUILT}
GOLDEN = {
    "sampled": ("c6352ef9d5b6ce14", "1c7a87713808666a"),
    "flat": ("0d1671da5fdc3696", "edacb88ba8942c65"),
    "preset": ("014ae72cb1b5fd70", "013adcc5ffbb3896"),
    "rebuilt": ("910298d0bcc917c8", "75b370a1941d57a0"),
    "embedded": ("da7bca7a04748537", "11f3d7af1fa11bcc"),
}
"""Name of a build to the digests of its rows and of its files."""


def digests(store: Store) -> tuple[str, str]:
    """The digests of an output's rows and of its files, the first 16 hex digits of sha256 each."""
    rows, files = hashlib.sha256(), hashlib.sha256()
    for kind in ("pairs", "images", "rollouts", "questions"):
        for key in sorted(store.list(f"{kind}/")):
            data = store.read(key)
            files.update(f"{key} {hashlib.sha256(data).hexdigest()}\n".encode())
            for row in pa.ipc.open_file(data).read_all().to_pylist():
                row.pop("checker", None)
                rows.update(json.dumps(row, sort_keys=True, default=bytes.hex).encode())
    for key in sorted(store.list("manifests/")):
        rows.update(json.dumps(json.loads(store.read(key))["counts"], sort_keys=True).encode())
    return rows.hexdigest()[:16], files.hexdigest()[:16]


@pytest.mark.parametrize("name", BUILDS)
def test_a_local_build_writes_the_pinned_rows_and_bytes(name: str, tmp_path: Path) -> None:
    if name == "embedded" and not PIL.__version__.startswith(PILLOW):
        pytest.skip(f"its pictures were pinned with Pillow {PILLOW}")
    rows, files = digests(BUILDS[name](tmp_path, str(tmp_path / "out")))
    assert rows == GOLDEN[name][0]
    if pa.__version__.startswith(PYARROW):
        assert files == GOLDEN[name][1]


def test_a_build_on_s3_writes_the_same(s3_bucket: str, tmp_path: Path) -> None:
    store = sampled(tmp_path, f"s3://{s3_bucket}/out")
    assert digests(store)[0] == GOLDEN["sampled"][0]


if __name__ == "__main__":
    for name, build in BUILDS.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"    {name!r}: {digests(build(Path(folder), f'{folder}/out'))!r},")
