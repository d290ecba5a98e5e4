"""Waits between tries."""

from __future__ import annotations

from mmpr_pipeline.core.backoff import seconds_to_wait


def test_waits_double_up_to_the_longest_and_at_least_half_of_one_is_waited() -> None:
    most = [seconds_to_wait(n, first=0.5, longest=5.0, draw=lambda low, high: high) for n in range(6)]
    least = [seconds_to_wait(n, first=0.5, longest=5.0, draw=lambda low, high: low) for n in range(6)]
    assert most == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert least == [each / 2 for each in most]
    assert seconds_to_wait(10**9, first=0.5, longest=5.0) <= 5.0


def test_those_who_failed_at_the_same_moment_come_back_at_different_ones() -> None:
    assert len({seconds_to_wait(3, first=0.5, longest=5.0) for _ in range(20)}) > 10
