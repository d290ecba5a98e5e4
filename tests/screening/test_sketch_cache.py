"""Evaluation sets at a pinned revision are hashed once on a machine; a cache that is broken is done without."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mmpr_pipeline.screening.chunks import SKETCHES
from mmpr_pipeline.screening.fingerprints.cache import cached_sketches
from mmpr_pipeline.sources import SourceIndex

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
