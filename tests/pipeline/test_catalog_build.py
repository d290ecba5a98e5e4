"""`mmpr build` as a user types it, on data sets of the catalog, over the Hub's protocol.

The test Hub serves them in the layouts of the real ones; nothing but the catalog's declarations says how to read them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.review.verify import verify
from tests.hub.repository import Repository
from tests.hub.rows import rows_of
from tests.hub.served import PARQUET, serve, webdataset
from tests.hub.server import HubServer

pytestmark = pytest.mark.slow  # whole builds: Ray and the Hub's libraries start in processes of their own

TOKEN = "hf_OfTheTests"
SHARDS = 256
ROWS = {"geoqa": 120, "mathvista": 90}
TAR = {
    "name": "own_tars",
    "description": "GeoQA rows as somebody keeps them in WebDataset tars.",
    "hub": {"id": "made/tars", "files": "data/*.tar"},
    "kind": "choice",
    "answer_form": "index",
    "language": "zh",
    "columns": {"question": "json.text", "image": "jpg", "choices": "json.options", "answer": "json.gold"},
}
LOADER = """
import json, sys
from collections import Counter
from datasets import load_dataset
rows = load_dataset("me/pairs", split="train")
told = {"rows": len(rows), "sources": Counter(rows["source"]), "image": rows[0]["images"][0].size}
print("told", json.dumps({**told, "columns": rows.column_names}))
"""


@dataclass
class Built:
    """A finished build, and what it asked of the Hub."""

    out: Path
    hub: HubServer
    requests: list[str]

    def counts(self) -> dict[str, Any]:
        """The counts of each source, over all shards."""
        counts: dict[str, Any] = json.loads((self.out / layout.SUMMARY).read_text())["sources"]
        return counts


def mmpr(hub: HubServer, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, with the Hub's address and an empty cache; it must succeed."""
    return python(hub, home, "-m", "mmpr_pipeline.cli", *words)


def python(hub: HubServer, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "MMPR_CACHE": str(home / "mmpr"),
    }  # fmt: skip
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """`mmpr build --sources geoqa,mathvista --shards 256`, with an output, and an engine that needs no GPU."""
    home = tmp_path_factory.mktemp("home")
    hub = serve(ROWS)
    hub.tokens = {TOKEN: "write"}
    try:
        out = home / "out"
        command = ["build", "--sources", "geoqa,mathvista", "--shards", str(SHARDS)]
        mmpr(hub, home, *command, "--engine", "scripted", "--out", str(out))
        yield Built(out, hub, list(hub.paths))
    finally:
        hub.close()


def manifests(out: Path) -> list[dict[str, Any]]:
    return [json.loads((out / layout.shard_key("manifest", i, SHARDS)).read_text()) for i in range(SHARDS)]


def test_empty_shards_come_out_too_and_all_are_valid(built: Built) -> None:
    found = verify(built.out)
    assert found.problems == []
    assert found.shards == SHARDS
    counts = [manifest["counts"] for manifest in manifests(built.out)]
    assert sum(count["questions"] for count in counts) == sum(ROWS.values())
    usable = [count["questions"] - sum(count["rejected"].values()) for count in counts]
    assert max(usable) == 2, "each source is spread over all shards"
    assert usable.count(0) >= SHARDS - sum(ROWS.values())


def test_every_row_of_both_sources_is_accounted_for(built: Built) -> None:
    counts = built.counts()
    assert {source: counts[source]["questions"] for source in counts} == ROWS
    assert counts["geoqa"]["rejected"]["not_selected"] == 48, "dev and test rows of the original"
    for source in ROWS:
        assert counts[source]["paired"] > ROWS[source] // 4
        assert sum(counts[source]["pairs"].values()) > counts[source]["paired"]


def test_the_hub_is_asked_little_and_each_file_is_fetched_once(built: Built) -> None:
    assert len(built.requests) <= 40, "however many shards there are"
    for name in ROWS:
        identity, _ = PARQUET[name]
        for path, blob in built.hub.repositories[identity].head().files.items():
            if blob.lfs:
                assert built.hub.sent[path] == len(blob.data)


def test_it_is_published_and_loaded_back(built: Built, tmp_path: Path) -> None:
    before = len(built.hub.paths)
    mmpr(built.hub, tmp_path, "publish", str(built.out), "--repo", "me/pairs", "--files", "16")
    done = python(built.hub, tmp_path, "-c", LOADER)
    told = json.loads(done.stdout.partition("told")[2])
    pairs = {source: sum(counts["pairs"].values()) for source, counts in built.counts().items()}
    assert told["rows"] == sum(pairs.values())
    assert told["sources"] == pairs
    assert min(told["image"]) > 100
    assert {"prompt", "chosen", "rejected", "prompt_version"} <= set(told["columns"])
    assert len(built.hub.paths) - before <= 120


@pytest.mark.campaign
def test_a_dozen_sources_build_through_their_declarations_alone(tmp_path: Path) -> None:
    """Parquet with structs and lists of images, several questions a row, a zip beside a JSON list, WebDataset tars."""
    rows = dict.fromkeys([*PARQUET, "mathv360k"], 12)
    hub = serve(rows)
    hub.tokens = {TOKEN: "read"}
    tars = webdataset(rows_of("geoqa", 42)[30:], {"subject": "text", "choices": "options", "label": "gold"}, samples=5)
    hub.repositories["made/tars"] = Repository("made/tars")
    hub.repositories["made/tars"].put(tars, "made")
    declaration = tmp_path / "own_tars.yaml"
    declaration.write_text(yaml.safe_dump(TAR))
    config = {
        "sources": [*rows, str(declaration)], "out": str(tmp_path / "out"), "shards": 3,
        "engine": {"name": "scripted", "script": {"extremes": 0, "tokens": 20}}, "sampling": {"samples": 8},
    }  # fmt: skip
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(config))
    try:
        mmpr(hub, tmp_path, "build", str(tmp_path / "build.yaml"))
    finally:
        hub.close()
    assert verify(tmp_path / "out").problems == []
    counts = Built(tmp_path / "out", hub, []).counts()
    questions = {**rows, "own_tars": 12, "ocrvqa": 36, "ai2d": 36, "vqav2": 24}
    assert {source: counts[source]["questions"] for source in counts} == questions
    assert counts["geoqa"]["rejected"].pop("not_selected") == 4
    for source, number in questions.items():
        assert not counts[source]["rejected"], source
        assert counts[source]["paired"] > number // 3, source
    assert counts["rlaif_v"]["pairs"].keys() == {"dropout_ntp"}
