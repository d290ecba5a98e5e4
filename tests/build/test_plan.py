from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.build.plan import shard_slice


@given(st.integers(0, 10_000), st.integers(1, 600))
def test_slices_follow_each_other_cover_all_and_differ_by_at_most_one(rows: int, of: int) -> None:
    slices = [shard_slice(rows, shard, of) for shard in range(of)]
    assert slices[0][0] == 0
    assert slices[-1][1] == rows
    assert all(before[1] == after[0] for before, after in pairwise(slices))
    sizes = {stop - start for start, stop in slices}
    assert max(sizes) - min(sizes) <= 1
