"""Ranks in lock step: even micro-batches, longest first. The simulation's lengths are the paper's."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpr_pipeline.training.data.order import Outline, StepPlan, plan

BUDGET = 16384


def question(rng: random.Random, pairs: int) -> Outline:
    """80 tokens of text, 1 to 12 tiles (and the whole) of 256 tokens, responses of 325 tokens on average."""
    tiles = rng.choice([1, 2, 3, 4, 5, 6, 7, 7, 13])
    responses = 2 * pairs if pairs <= 2 else pairs + 2
    lengths = [max(10, int(rng.lognormvariate(math.log(280), 0.5))) for _ in range(responses)]
    half = responses // 2
    chosen, rejected = (range(half), range(half, responses))
    made = [(chosen[i % len(chosen)], rejected[i % len(rejected)]) for i in range(pairs)]
    return Outline(80 + 256 * tiles, tuple(((c, lengths[c]), (r, lengths[r])) for c, r in made), 256 * tiles)


def step(seed: int, most: int = 4, pairs: int = 256) -> list[Outline]:
    """A step's parts of questions that have 1 to 15 pairs each, at most `most` pairs in a part."""
    rng, made = random.Random(seed), []
    while pairs:
        count = min(pairs, rng.randint(1, 15), most)
        made.append(question(rng, count))
        pairs -= count
    return made


@pytest.mark.parametrize(("ranks", "goal"), [(8, 0.90), (64, 0.85)])
def test_ranks_are_busy(ranks: int, goal: float) -> None:
    plans = [plan(step(seed), ranks, BUDGET) for seed in range(10)]
    assert sum(each.busy for each in plans) / len(plans) >= goal


def test_a_bound_on_image_tokens_takes_more_turns() -> None:
    outlines = step(2)
    made = plan(outlines, 8, BUDGET, images=13 * 256)
    images = [sum(outlines[p.item].images for p in turn) for rank in made.ranks for turn in rank]
    assert max(images) <= 13 * 256
    assert len(images) > len([turn for rank in plan(outlines, 8, BUDGET).ranks for turn in rank])
    assert_sound(outlines, made, BUDGET, True)


def test_dividing_questions_among_many_ranks_shortens_the_step() -> None:
    """Not only busy: with 64 ranks the step is shorter than its longest question."""
    outlines = step(1)
    whole = max(outline.tokens(0, len(outline.pairs)) for outline in outlines)
    assert plan(outlines, 64, BUDGET).time < 0.9 * whole


def assert_sound(outlines: list[Outline], made: StepPlan, budget: int, shares: bool) -> None:
    pieces = [piece for rank in made.ranks for turn in rank for piece in turn]
    covered = sorted((p.item, i) for p in pieces for i in range(p.first, p.stop))
    assert covered == [(item, i) for item, outline in enumerate(outlines) for i in range(len(outline.pairs))]
    room = max(budget, *(outlines[p.item].tokens(p.first, p.stop, shares) for p in pieces))
    for rank in made.ranks:
        loads = [sum(outlines[p.item].tokens(p.first, p.stop, shares) for p in turn) for turn in rank]
        assert loads == sorted(loads, reverse=True)  # the longest first
        assert max(loads, default=0) <= room
    turns = max(len(rank) for rank in made.ranks)
    assert all(len(rank) >= turns - 1 for rank in made.ranks) or len(pieces) < turns * len(made.ranks)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 6)), min_size=1, max_size=40),
    st.integers(1, 9),
    st.booleans(),
)
def test_every_pair_is_computed_once(shapes: list[tuple[int, int]], ranks: int, shares: bool) -> None:
    rng = random.Random(len(shapes))
    outlines = [
        Outline(prompt, tuple(((2 * i, rng.randint(1, 99)), (2 * i + 1, rng.randint(1, 99))) for i in range(pairs)))
        for prompt, pairs in shapes
    ]
    assert_sound(outlines, plan(outlines, ranks, 700, shares), 700, shares)


def test_micro_batches_stay_within_the_budget_where_single_pairs_do() -> None:
    for seed in range(5):
        for ranks in (1, 2, 8):
            made = plan(step(seed), ranks, BUDGET)
            outlines = step(seed)
            loads = [
                sum(outlines[p.item].tokens(p.first, p.stop) for p in turn) for rank in made.ranks for turn in rank
            ]
            assert max(loads) <= BUDGET
            assert min(loads) > 0.7 * max(loads)


def test_a_response_of_several_pairs_counts_once() -> None:
    outline = Outline(100, (((0, 10), (1, 20)), ((0, 10), (2, 30))))
    assert outline.tokens(0, 2) == 160
    assert outline.tokens(1, 2) == 140
    assert outline.tokens(0, 2, shares=False) == 360
