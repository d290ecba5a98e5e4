"""Times of day."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking.reading.times import compare_times


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("4:30 p.m.", "16:30", True),
        ("4:30", "4:30 pm", True),
        ("4:30 am", "4:30 pm", False),
        ("12:00 am", "00:00", True),
        ("12:15 pm", "12:15", True),
        ("4:30 pm", "4:31 pm", False),
        ("3 pm", "15:00", True),
    ],
)
def test_times(one: str, other: str, same: bool) -> None:
    decision = compare_times(one, other)
    assert decision is not None
    assert decision[0] is same


def test_two_bare_ones_may_be_ratios() -> None:
    assert compare_times("3:04", "6:08") is None
    assert compare_times("25:00 pm", "1 pm") is None
