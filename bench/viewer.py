"""The viewer over a million pairs: how soon the index is there, how long searches, questions and doubts take.

    python bench/viewer.py [--shards 512] [--folder DIR] [--keep]

One shard of 490 questions, 7,824 rollouts and 2,608 pairs is written by the real writer and stands for all shards by
hard links, so that 1.3 million pairs need little disk. Times are of the server's own answers, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from starlette.testclient import TestClient

from mmpr_pipeline.core.json_files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.server import make_app
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_shard


def many_shards(folder: Path, shards: int) -> None:
    """The dataset: every shard holds the same rows under its own number."""
    store = open_store(folder)
    store.write(layout.CONFIG, json_bytes({"config": {"shards": shards}, "digest": "0" * 32}))
    outcomes = [make_outcome(n * 5 + k, f"source{n % 7}", rollouts=16) for n in range(163) for k in (0, 1, 3)]
    write_shard(store, 0, shards, [*outcomes, make_outcome(4)])
    manifest = json.loads(store.read(layout.manifest(0, shards)))
    for shard in range(1, shards):
        for kind in layout.SCHEMAS:
            os.link(folder / layout.data(kind, 0, shards), folder / layout.data(kind, shard, shards))
        store.write(layout.manifest(shard, shards), json_bytes({**manifest, "shard": shard}))


def measure(folder: Path) -> None:
    """Print each answer's seconds."""

    def timed(name: str, path: str) -> dict[str, str]:
        start = time.perf_counter()
        answer = browser.get(path)
        assert answer.status_code == 200, path
        print(f"{name:<44}{time.perf_counter() - start:8.3f} s {len(answer.content):>12,} bytes")
        return dict(answer.headers)

    start = time.perf_counter()
    browser = TestClient(make_app(Library(folder)), base_url="http://127.0.0.1:8123")
    print(f"{'opened':<44}{time.perf_counter() - start:8.3f} s")
    timed("overview", "/api/overview")
    timed("first piece of the index", "/api/index")
    whole = (("whole index", "index"), ("whole index, asked for again", "index"), ("all doubts", "doubts"))
    for name, path in whole:
        start, reached, pieces = time.perf_counter(), "0", 0
        while reached:
            reached = browser.get(f"/api/{path}?from={reached}").headers["x-mmpr-next"]
            pieces += 1
        print(f"{name:<44}{time.perf_counter() - start:8.3f} s in {pieces} pieces")
    timed("a question", "/api/question?shard=300&row=7")
    timed("40 rows of a list, of 40 shards", "/api/rows?at=" + ",".join(f"{shard}.3" for shard in range(40)))
    for where in ("questions", "responses"):
        start, following = time.perf_counter(), 0
        while following is not None:
            found = browser.get(f"/api/search?text=bar+77&in={where}&from={following}").json()
            following = found["next"]
        print(f"{'a search through all ' + where:<44}{time.perf_counter() - start:8.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=512)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the dataset, to look at it in a browser")
    asked = parser.parse_args()
    place = asked.folder or Path(tempfile.mkdtemp(prefix="mmpr-viewer-"))
    if not (place / layout.CONFIG).is_file():
        many_shards(place, asked.shards)
    measure(place)
    if not asked.keep:
        shutil.rmtree(place)
