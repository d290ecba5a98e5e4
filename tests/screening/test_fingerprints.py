"""Fingerprints of evaluation sets: made, published, fetched, and taken by a build in place of the set itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.screening.chunks import SKETCHES
from mmpr_pipeline.screening.fingerprints import cached_sketches, make_fingerprint, read_fingerprint
from mmpr_pipeline.sources import SourceIndex, open_source
from tests.hub.served import serve
from tests.pipeline.plans.test_screening_pass import made, rows

ROOT = Path(__file__).resolve().parents[2]
BUILD = """
import json, sys
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.plans import evaluation_sets
from mmpr_pipeline.pipeline.plans.screening_pass import look_at, screen

given = json.loads(sys.argv[1])
settings = {"sources": ["geoqa"], "shards": 2, "engine.name": "scripted", **given}
config = load_config(None, settings)
missing = evaluation_sets.to_fetch(config)
plan = make_build_plan(config)
report = screen(plan, lambda text: None, lambda plan, pieces, what: [look_at(plan, piece) for piece in pieces])
print(json.dumps({"missing": missing, "digest": plan.digest, "report": report,
                  "unchecked": dict(plan.against.unchecked)}))
"""


def test_a_file_on_disk_has_no_fingerprint(tmp_path: Path) -> None:
    bench = made(tmp_path / "e", "bench", rows(3), "evaluation")
    with pytest.raises(ConfigError, match="not on the Hub"):
        make_fingerprint(open_source(str(bench)), tmp_path)
    (tmp_path / "x.fingerprint.arrow").write_bytes(b"none")
    with pytest.raises(DatasetError):
        read_fingerprint(tmp_path / "x.fingerprint.arrow")


@pytest.mark.slow
@pytest.mark.campaign
def test_a_build_with_fingerprints_decides_the_same_and_fetches_nothing(tmp_path: Path) -> None:
    """Over the test Hub: made and published on one machine, fetched on another, which then asks for no file of the
    set; what is dropped, and the identity of the output, are those of a build that read the set itself."""
    hub = serve({"geoqa": 8, "mathvista": 6, "mathvision": 5})
    hub.tokens["t"] = "write"

    def run(home: str, *words: str, stdin: str | None = None) -> str:
        place = tmp_path / home
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(place / "hf"),
            "MMPR_CACHE": str(place / "mmpr"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "t", "COLUMNS": "200",
        }  # fmt: skip
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True, input=stdin,
            check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def build(home: str, out: str, **more: object) -> dict[str, object]:
        settings = {"out": str(tmp_path / home / out), **more}
        found: dict[str, object] = json.loads(run(home, "-c", BUILD, json.dumps(settings)).splitlines()[-1])
        return found

    def asked_for(text: str) -> list[str]:
        return [line for line in hub.paths if ".parquet" in line and text in line]

    try:
        sets = {"screening.against": ["mathvista", "mathvision"]}
        whole = build("one", "whole", **sets)
        assert asked_for("MathVista")
        said = run(
            "one", "-m", "mmpr_pipeline.cli", "screening", "fingerprint", "mathvista,mathvision", "--repo", "me/prints"
        )
        assert "Put into me/prints" in said
        hub.paths.clear()
        assert "mathvista: 6 rows" in run("two", "-m", "mmpr_pipeline.cli", "screening", "fetch", "me/prints")
        by_print = build("two", "prints", **sets)
        assert asked_for("MathVista") == asked_for("MathVision") == []
        assert by_print["digest"] == whole["digest"]
        assert by_print["report"] == whole["report"]

        # By default: what is missing is told with its size; `cached` fetches none of it and says what was left out.
        hub.paths.clear()
        cached = build("three", "cached", **{"screening.decontaminate": "cached"})
        assert set(cached["missing"]) == {"mathvista", "mathvision"}  # type: ignore[call-overload]
        assert all(size > 1000 for size in cached["missing"].values())  # type: ignore[attr-defined]
        assert {"mathvista", "mathvision"} <= set(cached["unchecked"])  # type: ignore[call-overload]
        assert asked_for("MathVista") == asked_for("MathVision") == []
        after = build("two", "default", **{"screening.decontaminate": "cached"})
        assert after["missing"] == {}
        assert {"mathvista", "mathvision"} <= set(after["report"]["against"])  # type: ignore[index]
        plan = run(
            "three", "-m", "mmpr_pipeline.cli", "build", "--sources", "geoqa", "--engine", "scripted", "--dry-run"
        )
        assert "evaluation sets that are not on this machine" in plan
        assert asked_for("MathVista") == []
    finally:
        hub.close()


HASH = bytes(SKETCHES.field("hashes").type.value_type.byte_width)
ROW = {"row": 7, "source_id": "a", "images": ["00"], "hashes": [HASH], "shingles": b"", "words": 3}


class Looks:
    """Counts how often rows were looked at."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> pa.Table:
        self.count += 1
        return pa.Table.from_pylist([ROW], SKETCHES)


def index(revision: str | None = "abc", fingerprint: str = "f") -> SourceIndex:
    return SourceIndex(rows=9, fingerprint=fingerprint, revision=revision, files=())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_second_build_finds_what_the_first_saw() -> None:
    look = Looks()
    first, second = (cached_sketches(index(), 0, 9, look) for _ in range(2))
    assert (first, look.count) == (second, 1)
    cached_sketches(index(), 0, 5, look)
    cached_sketches(index(fingerprint="other"), 0, 9, look)
    assert look.count == 3


def test_what_may_change_is_looked_at_every_time(cache: Path) -> None:
    look = Looks()
    for _ in range(2):
        cached_sketches(index(revision=None), 0, 9, look)
    assert look.count == 2
    assert not cache.exists()


def test_a_damaged_piece_is_replaced_and_a_cache_that_cannot_be_written_done_without(cache: Path) -> None:
    look = Looks()
    cached_sketches(index(), 0, 9, look)
    (kept,) = cache.rglob("*.arrow")
    kept.write_bytes(kept.read_bytes()[:40])
    assert cached_sketches(index(), 0, 9, look) == cached_sketches(index(), 0, 9, look)
    assert look.count == 2
    kept.unlink()
    (cache / "sketches").rmdir()
    (cache / "sketches").write_text("a file where the folder should be")
    assert cached_sketches(index(), 0, 9, look).num_rows == 1
