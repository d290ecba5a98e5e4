from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan, shard_slice
from tests.pipeline.made import make_source


@given(st.integers(0, 10_000), st.integers(1, 600))
def test_slices_follow_each_other_cover_all_and_differ_by_at_most_one(rows: int, of: int) -> None:
    slices = [shard_slice(rows, shard, of) for shard in range(of)]
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
