from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.sampling.rounds import first_round, next_round

RULES = {"most": 32, "round_size": 4, "max_pairs": 15, "price": 0.25}


def sample(rate: float, draw: random.Random) -> tuple[int, int]:
    """Rollouts and pairs of one question of that solve rate under the rule."""
    correct = incorrect = 0
    while size := next_round(correct, incorrect, correct + incorrect, **RULES):
        hits = sum(draw.random() < rate for _ in range(size))
        correct, incorrect = correct + hits, incorrect + size - hits
    return correct + incorrect, min(15, correct * incorrect)


@pytest.mark.parametrize(("most", "expected"), [(1, 2), (4, 4), (15, 8), (16, 8), (17, 9)])
def test_the_first_round_is_the_least_that_could_make_all_pairs(most: int, expected: int) -> None:
    assert first_round(most) == expected
    half = expected // 2
    assert half * (expected - half) >= most


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 10))
def test_never_more_than_is_left_and_never_when_there_is_enough(correct: int, incorrect: int, other: int) -> None:
    sampled = correct + incorrect + other
    size = next_round(correct, incorrect, sampled, **RULES)
    assert 0 <= size <= max(0, 32 - sampled)
    if correct * incorrect >= 15:
        assert size == 0


@pytest.mark.parametrize("ends", [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (2.0, 0.7)])
def test_close_to_half_of_the_rollouts_for_nearly_all_pairs(ends: tuple[float, float]) -> None:
    draw = random.Random(0)
    rates = [draw.betavariate(*ends) for _ in range(3000)]
    adaptive = [sample(rate, draw) for rate in rates]
    correct = [sum(draw.random() < rate for _ in range(32)) for rate in rates]
    flat_pairs = sum(min(15, c * (32 - c)) for c in correct)
    pairs = sum(p for _, p in adaptive)
    assert pairs >= 0.96 * flat_pairs
    assert sum(n for n, _ in adaptive) / pairs <= 0.56 * (32 * len(rates)) / flat_pairs


def test_a_hopeless_question_is_given_up_before_the_end_and_a_promising_one_is_not() -> None:
    assert next_round(0, 28, 28, **RULES) == 0
    assert next_round(2, 6, 8, **RULES) == 4
    assert next_round(0, 0, 8, **RULES) == 0, "eight unparseable rollouts: the model does not know the form"
