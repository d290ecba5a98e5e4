"""Sources on the Hub, over its real protocol on the loopback; the client runs in a process of its own, as it reads
HF_ENDPOINT and its kin when it is imported."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hub.server import COMMIT, HubServer
from tests.sources.made import BASE, made_rows, png_bytes

pytestmark = pytest.mark.slow  # each client process imports `datasets`: seconds

PLAIN = ("data/0.png", "data/1.png", "data/2.png", "../../secret.png")
CARD = b"""---
configs:
- config_name: default
  data_files:
  - split: testmini
    path: data/testmini-*
- config_name: lines
  data_files:
  - split: train
    path: lines/train.jsonl
---
# Made
"""

CLIENT = """
import json, sys
from pathlib import Path
from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.source import Source
for declaration, low, high, whole in json.loads(sys.argv[1]):
    source = Source(SourceDeclaration.model_validate(declaration), Path("."), whole)
    try:
        index = source.index()
        items = [getattr(item, "reason", item.source_id) for item in source.read(index, low, high)]
        told = {"rows": index.rows, "revision": index.revision, "items": items, "print": index.fingerprint}
    except SourceError as error:
        told = {"error": error.message, "remedy": error.remedy}
    print("told", json.dumps(told))
"""


def parquet_bytes(rows: int, group: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (rows, 48, 48, 3), dtype=np.uint8)
    made = made_rows(rows)
    for row, values in zip(made, noise, strict=True):
        buffer = io.BytesIO()
        PIL.Image.fromarray(values).save(buffer, "PNG")
        row["image"] = {"bytes": buffer.getvalue(), "path": None}
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(made), sink, row_group_size=group)
    return sink.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    lines = [{**row, "image": "images/0.png"} for row in made_rows(4)]
    files = {
        "README.md": CARD,
        "data/testmini-00000-of-00002.parquet": parquet_bytes(600, 50),
        "data/testmini-00001-of-00002.parquet": parquet_bytes(20, 50),
        "lines/train.jsonl": "\n".join(map(json.dumps, lines)).encode(),
        "plain/val.json": json.dumps(
            [{**row, "image": path} for row, path in zip(made_rows(4), PLAIN, strict=True)]
        ).encode(),
        **{f"plain/data/{i}.png": png_bytes(i) for i in range(2)},
    }
    server = HubServer(files)
    yield server
    server.close()


def job(low: int = 0, high: int = 3, whole: bool = True, **hub: str) -> tuple[Any, ...]:
    """Read rows low..high of a split of the made data set."""
    return {**BASE, "hub": {"id": "made/rows", "split": "testmini", "config": "default", **hub}}, low, high, whole


def client(home: Path, endpoint: str, *jobs: tuple[Any, ...], offline: bool = False) -> list[dict[str, Any]]:
    """What each job came to, all in one process."""
    kept = {"HF_HUB_OFFLINE": str(int(offline)), "HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    ran = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(jobs)],
        env={**os.environ, **kept, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return [json.loads(line.removeprefix("told")) for line in ran.stdout.splitlines() if line.startswith("told")]


def test_a_split_is_read_at_its_commit_and_fetched_once(hub: HubServer, tmp_path: Path) -> None:
    hub.sent.clear()
    first, again = client(tmp_path, hub.endpoint, job(598, 603), job(0, 2))
    assert first["items"] == ["q598", "q599", "duplicate_id", "duplicate_id", "duplicate_id"]
    assert (first["rows"], first["revision"]) == (620, COMMIT)
    assert again == {**first, "items": ["q0", "q1"]}
    sizes = {path: len(data) for path, data in hub.files.items() if path.startswith("data/")}
    assert {path: hub.sent[path] for path in sizes} == sizes


def test_a_slice_of_a_large_file_is_read_by_ranges(hub: HubServer, tmp_path: Path) -> None:
    hub.sent.clear()
    (told,) = client(tmp_path, hub.endpoint, job(300, 303, whole=False))
    assert told["items"] == ["q300", "q301", "q302"]
    path = "data/testmini-00000-of-00002.parquet"
    assert 0 < hub.sent[path] < len(hub.files[path]) * 0.3


def test_plain_image_files_of_a_repository_are_read_one_by_one(hub: HubServer, tmp_path: Path) -> None:
    """CRPE, MMHal-Bench and VisualProbe keep JSON beside folders of images: neither Parquet nor a zip."""
    declared = {**BASE, "hub": {"id": "made/rows", "files": "plain/val.json"}, "image_root": "plain"}
    hub.sent.clear()
    (found,) = client(tmp_path, hub.endpoint, (declared, 0, 4, True))
    assert found.get("items", found) == ["q0", "q1", "missing_image", "image_outside_root"]
    assert {path for path in hub.sent if path.startswith("plain/")} == {
        "plain/val.json", "plain/data/0.png", "plain/data/1.png",
    }  # fmt: skip


def test_without_network_a_cached_data_set_works_and_any_other_fails_at_once(hub: HubServer, tmp_path: Path) -> None:
    fetch = "from huggingface_hub import snapshot_download as get; get('made/rows', repo_type='dataset')"
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    subprocess.run([sys.executable, "-c", fetch], env=environment, check=True, capture_output=True)
    online = client(tmp_path, hub.endpoint, job(600, 601))
    nowhere = "http://127.0.0.1:9"
    cached, other = client(tmp_path, nowhere, job(600, 601), job(id="made/other"), offline=True)
    assert [cached] == online
    assert "not in the Hub's cache" in other["error"]
    assert "hf download --repo-type dataset made/other" in other["remedy"]


def test_out_of_reach_is_told_within_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    told = client(tmp_path, "http://127.0.0.1:9", *[job()] * 3)
    assert time.monotonic() - started < 200  # three times, and the imports on a busy machine
    assert len(told) == 3
    assert "made/rows" in told[0]["error"]
    for word in ("network", "HF_ENDPOINT", "HF_HUB_OFFLINE", "files:"):
        assert word in told[0]["remedy"]


def test_what_the_hub_does_not_have_is_named_and_other_formats_are_fetched(hub: HubServer, tmp_path: Path) -> None:
    jobs = [job(split="train"), job(config="other"), job(id="made/none"), job(config="lines", split="train")]
    *missing, lines = client(tmp_path, hub.endpoint, *jobs)
    said = ["no split 'train'; it has testmini", "no configuration 'other'", "no data set made/none"]
    for told, text in zip(missing, said, strict=True):
        assert text in told["error"]
        assert told["remedy"]
    assert lines["rows"] == 4
    assert lines["items"] == ["missing_image"] * 3  # paths mean nothing there
