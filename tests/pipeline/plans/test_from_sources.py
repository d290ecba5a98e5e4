from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.core.errors import SourceAwayError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_build_plan
from mmpr_pipeline.pipeline.plans.sources import ResolvedSource
from mmpr_pipeline.sources import SourceIndex
from tests.pipeline.made import make_source
from tests.pipeline.plans.test_screening_pass import made, plan_of, rows


@given(st.integers(0, 10_000), st.integers(1, 600))
def test_slices_follow_each_other_cover_all_and_differ_by_at_most_one(rows: int, of: int) -> None:
    slices: list[tuple[int, int]] = []

    class Rows:
        def read(self, index: SourceIndex, start: int, stop: int) -> list[Question]:
            slices.append((start, stop))
            return []

    index = SourceIndex(rows=rows, fingerprint="", files=())
    source = ResolvedSource("s", "s.yaml", index, "train", "unknown", None, "")
    plan = BuildPlan(load_config(None, {"sources": ["s.yaml"], "shards": of}), (source,), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmpr_pipeline.pipeline.plans.from_sources.open_source", lambda *_: Rows())
        assert [row for shard in range(of) for row in plan.read(shard)] == []
    assert slices[0][0] == 0
    assert slices[-1][1] == rows
    assert all(before[1] == after[0] for before, after in pairwise(slices))
    sizes = {stop - start for start, stop in slices}
    assert max(sizes) - min(sizes) <= 1


def test_a_source_s_own_instructions_are_told_and_decide_the_output(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", questions=3)
    before = make_build_plan(load_config(None, {"sources": [str(source)], "out": "x"}))
    source.write_text(source.read_text() + "prompt: {cot: 'Think. Final answer: X'}\n")
    after = make_build_plan(load_config(None, {"sources": [str(source)], "out": "x"}))
    assert "instructions" not in before.described_sources[0]
    assert after.described_sources[0]["instructions"] == ["Think. Final answer: X"]
    assert after.digest != before.digest


async def test_engines_plan_their_memory_for_the_tiles_that_the_sources_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MMPR's own sources ask for 18 and 24 tiles; engines planned for 12 would show their images coarser."""
    started: list[int] = []
    noted: list[int | None] = []

    class Engine:
        info = None

        def __init__(self, settings: EngineSettings, info: None = None) -> None:
            self.most_tiles = settings.most_tiles

    monkeypatch.setattr("mmpr_pipeline.engines.start.LocalEngine", Engine)
    source = made(tmp_path, "first", rows(2))
    declared = source.read_text()
    for tiles in (6, 24):
        source.write_text(f"{declared}tiles: {tiles}\n")
        plan = plan_of(tmp_path / "out", source)
        started.append(getattr(await plan.start(), "most_tiles", 0))
        noted.append(plan.described_sources[0].get("tiles"))
    assert started == [12, 24]
    assert noted == [None, 24]  # so that training cuts as many


def test_every_source_that_is_out_of_reach_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever fetches one and tries again would learn of the next one only then."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    config = load_config(
        None, {"sources": ["geoqa", "scienceqa"], "out": str(tmp_path / "out"), "engine.name": "scripted"}
    )
    with pytest.raises(SourceAwayError, match=r"2 sources cannot be read:\n    geoqa: .*\n    scienceqa: ") as caught:
        make_build_plan(config)
    assert caught.value.remedy
