"""Which rows are dropped, and which shard takes which."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpr_pipeline.screening.selection import (
    ASKED,
    CONTAMINATED,
    DUPLICATE,
    LEFT_OUT,
    UNREADABLE,
    first_of_each,
    runs,
    shard_bounds,
)

unhurried = settings(deadline=None)
statuses = st.lists(st.sampled_from([ASKED, ASKED, LEFT_OUT, UNREADABLE, DUPLICATE, CONTAMINATED]), max_size=300)


@unhurried
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=60))
def test_the_first_valid_row_of_a_key_wins(rows: list[tuple[int, int, bool]]) -> None:
    keys = np.array([row[:2] for row in rows], np.uint64).reshape(-1, 2)
    valid = np.array([row[2] for row in rows], bool)
    first: dict[tuple[int, int], int] = {}
    expected = []
    for at, (one, two, good) in enumerate(rows):
        seen = first.setdefault((one, two), at) if good else at
        expected.append(-1 if seen == at else seen)
    assert first_of_each(keys, valid).tolist() == expected


@unhurried
@given(statuses, st.integers(1, 40))
def test_shards_cover_all_rows_and_ask_equally_many(status: list[int], of: int) -> None:
    found = np.array(status, np.uint8)
    bounds = [shard_bounds(found, shard, of) for shard in range(of)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == len(found)
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    asked = [int((found[low:high] == ASKED).sum()) for low, high in bounds]
    assert max(asked) - min(asked) <= 1


@given(st.integers(0, 2000), st.integers(1, 600))
def test_where_every_row_is_asked_nothing_changes(rows: int, of: int) -> None:
    status = np.full(rows, ASKED, np.uint8)
    for shard in (0, of // 2, of - 1):
        assert shard_bounds(status, shard, of) == (rows * shard // of, rows * (shard + 1) // of)


@unhurried
@given(st.lists(st.integers(0, 3000), max_size=30))
def test_runs_cover_what_is_wanted_and_jump_over_long_gaps(rows: list[int]) -> None:
    wanted = np.zeros(3001, bool)
    wanted[rows] = True
    found = runs(wanted)
    assert set(rows) <= {row for low, high in found for row in range(low, high)}
    assert all(wanted[low] and wanted[high - 1] for low, high in found)
    assert all(other[0] - one[1] >= 256 for one, other in pairwise(found))
