from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.rollouts import sampling
from mmpr_pipeline.rollouts.sampling import (
    MAX_ROUNDS,
    SamplingSettings,
    continuation_seed,
    first_round,
    next_round,
    sampling_seed,
)

SETTINGS = SamplingSettings()
RULES = {
    "most": 32,
    "round_size": SETTINGS.round_size,
    "max_pairs": 15,
    "price": SETTINGS.price,
    "round_price": SETTINGS.round_price,
}


def expected(
    ends: tuple[float, float], most: int = 32, max_pairs: int = 15, **rules: float
) -> tuple[float, float, float, float]:
    """Rollouts, pairs and rounds of a question under the rule, and pairs of flat ones: exact, for Beta solve rates."""
    given = {**RULES, "most": most, "max_pairs": max_pairs}
    sampled = pairs = asked = 0.0
    states = {(0, 0): 1.0}
    while states:
        following: dict[tuple[int, int], float] = {}
        for (correct, incorrect), chance in states.items():
            size = next_round(correct, incorrect, correct + incorrect, **{**given, **rules})  # type: ignore[arg-type]
            asked += chance * bool(size)
            if not size:
                sampled += chance * (correct + incorrect)
                pairs += chance * min(max_pairs, correct * incorrect)
            for k in range(size + 1 if size else 0):
                state = (correct + k, incorrect + size - k)
                likely = sampling._chances(size, ends[0] + correct, ends[1] + incorrect)[k]
                following[state] = following.get(state, 0.0) + chance * likely
        states = following
    flat = sum(c * min(max_pairs, k * (most - k)) for k, c in enumerate(sampling._chances(most, *ends)))
    return sampled, pairs, asked, flat


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


@pytest.mark.parametrize("ends", [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (2.0, 0.7), (0.7, 2.0)])
def test_half_of_the_rollouts_a_pair_for_97_in_100_of_the_pairs(ends: tuple[float, float]) -> None:
    sampled, pairs, _, flat = expected(ends)
    assert pairs >= 0.97 * flat
    assert sampled / pairs <= 0.5 * 32 / flat


@pytest.mark.parametrize("ends", [(0.2, 0.2), (0.3, 1.0), (1.0, 0.3)])
def test_where_most_questions_are_all_right_or_all_wrong_pairs_come_first(ends: tuple[float, float]) -> None:
    sampled, pairs, _, flat = expected(ends)
    assert pairs >= 0.97 * flat
    assert sampled / pairs <= 0.66 * 32 / flat


@pytest.mark.parametrize("most", [16, 32, 64])
@pytest.mark.parametrize("max_pairs", [1, 4, 8, 15])
def test_however_many_pairs_are_wanted_few_of_them_are_given_up(most: int, max_pairs: int) -> None:
    sampled, pairs, _, flat = expected((0.5, 0.5), most, max_pairs)
    assert pairs >= 0.97 * flat
    assert sampled <= 0.85 * most


def test_rounds_are_large_where_much_is_needed() -> None:
    """A price of a round takes two rounds in five away, for one rollout in a hundred more."""
    sampled, pairs, asked, _ = expected((0.5, 0.5))
    other_sampled, same_pairs, often, _ = expected((0.5, 0.5), round_price=0.0, price=0.57)
    assert same_pairs == pytest.approx(pairs, rel=0.001)
    assert asked < 0.65 * often
    assert sampled < 1.02 * other_sampled
    assert next_round(4, 3, 8, **RULES) < next_round(0, 8, 8, **RULES)


def test_no_other_rule_makes_more_of_small_cases() -> None:
    """Every stopping rule of 4 to 8 rollouts, one at a time, tried by brute force: none beats ours."""
    small = {"most": 8, "round_size": 1, "max_pairs": 4, "price": 0.8}  # of half a pair
    first = first_round(4)
    states = [(c, n - c) for n in range(first, 8) for c in range(n + 1) if c * (n - c) < 4]

    def worth(going_on: set[tuple[int, int]]) -> float:
        total, now = 0.0, {(c, first - c): p for c, p in enumerate(sampling._chances(first, 0.5, 0.5))}
        while now:
            following: dict[tuple[int, int], float] = {}
            for (c, w), chance in now.items():
                if (c, w) not in going_on:
                    total += chance * (min(4, c * w) - 0.4 * (c + w))
                    continue
                solve = (c + 0.5) / (c + w + 1)
                for state, share in (((c + 1, w), solve), ((c, w + 1), 1 - solve)):
                    following[state] = following.get(state, 0.0) + chance * share
            now = following
        return total

    ours = {(c, w) for c, w in states if next_round(c, w, c + w, **small)}
    every = [{s for i, s in enumerate(states) if number >> i & 1} for number in range(2 ** len(states))]
    assert worth(ours) == pytest.approx(max(worth(rule) for rule in every))
    assert 0 < len(ours) < len(states)


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_a_dearer_rollout_is_never_sampled_more(rate: float) -> None:
    draw = random.Random(1)
    drawn = [draw.random() < rate for _ in range(32)]

    def length(price: float) -> int:
        n = 0
        while size := next_round(sum(drawn[:n]), n - sum(drawn[:n]), n, **{**RULES, "price": price}):
            n += size
        return n

    lengths = [length(price) for price in (0.1, 0.5, 1.2, 6.0)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] == 8


def test_a_hopeless_question_is_given_up_before_the_end_and_a_promising_one_is_not() -> None:
    assert next_round(0, 30, 30, **RULES) == 0
    assert next_round(2, 6, 8, **RULES) == 2
    assert next_round(0, 0, 8, **RULES) == 0, "eight unparseable rollouts: the model does not know the form"


def test_it_is_quick_enough_for_millions_of_questions_and_bounded_for_the_largest_settings() -> None:
    began = time.process_time()
    for number in range(20_000):
        next_round(number % 7, number % 11, 8 + number % 17, **RULES)
    assert time.process_time() - began < 2
    began = time.process_time()
    next_round(0, 40, 200, most=1024, round_size=1, max_pairs=100, price=0.1)
    assert time.process_time() - began < 5


IDS = [content_id(str(i)) for i in range(3000)]


def test_seeds_are_the_same_for_ever() -> None:
    """A changed seed changes every shard that is ever rebuilt."""
    assert sampling_seed(0, IDS[0], 0) == 2591196224466777209
    assert sampling_seed(0, IDS[0], 3) == 2591196224466777209 + 3 * 4096
    assert continuation_seed(0, IDS[0], 32) == 2591196224466777209 + 4096 * 1024 + 32


def test_seeds_do_not_depend_on_the_process() -> None:
    code = f"from mmpr_pipeline.rollouts.sampling import *; print(sampling_seed(5, {IDS[0]!r}, 2))"
    printed = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": salt}, capture_output=True).stdout
        for salt in ("1", "2")
    }
    assert printed == {f"{sampling_seed(5, IDS[0], 2)}\n".encode()}


def test_no_two_rollouts_of_3000_questions_share_a_seed() -> None:
    seeds = {sampling_seed(0, name, round) + i for name in IDS for round in (0, 1, 7) for i in range(32)} | {
        continuation_seed(0, name, 32 + i) for name in IDS for i in range(4)
    }
    assert len(seeds) == len(IDS) * (3 * 32 + 4)


def test_the_low_32_bits_differ_too() -> None:
    """All that torch's CPU generator sees of a seed."""
    low = {sampling_seed(0, name, round) & 0xFFFFFFFF for name in IDS for round in (0, 1)}
    assert len(low) > 0.999 * 2 * len(IDS)


@pytest.mark.parametrize("build_seed", [0, 1, 2**31 - 1])
def test_seeds_fit_the_contract(build_seed: int) -> None:
    for name in IDS[:200]:
        assert sampling_seed(build_seed, name, 0) >= 0
        assert continuation_seed(build_seed, name, 4_000_000) < 2**62


def test_each_build_has_its_own() -> None:
    assert sampling_seed(0, IDS[0], 0) != sampling_seed(1, IDS[0], 0)


@pytest.mark.parametrize("round", [-1, MAX_ROUNDS])
def test_rounds_outside_the_window_are_refused(round: int) -> None:
    with pytest.raises(ValueError, match=rf"round {round} is outside 0\.\.1023"):
        sampling_seed(0, IDS[0], round)


@pytest.mark.parametrize("index", [-1, 4096 * 1024])
def test_continuations_outside_the_window_are_refused(index: int) -> None:
    with pytest.raises(ValueError, match=rf"index {index} is outside 0\.\.4194303"):
        continuation_seed(0, IDS[0], index)
    assert continuation_seed(0, IDS[0], 4096 * 1024 - 1) < 2**62
