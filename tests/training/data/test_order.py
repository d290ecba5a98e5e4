from __future__ import annotations

from dataclasses import replace

import pytest

from mmpr_pipeline.training.data.order import Order, Slice
from mmpr_pipeline.training.run.step import lr_at

SIZES = {0: [3, 1, 4], 1: [15, 2], 2: [1] * 9, 3: [7], 4: [2, 2, 2]}
ORDER = Order(tuple(sum(sizes) for sizes in SIZES.values()), batch=6, seed=3, window=2)


def steps(order: Order, start: int, stop: int) -> list[tuple[int, list[Slice]]]:
    return list(order.steps(start, stop, SIZES.__getitem__))


def pairs(found: list[tuple[int, list[Slice]]]) -> list[tuple[int, int, int]]:
    return [(s.shard, s.group, pair) for _, slices in found for s in slices for pair in range(s.first, s.stop)]


def test_an_epoch_takes_every_pair_once_in_steps_of_the_batch() -> None:
    epoch = steps(ORDER, 0, ORDER.steps_per_epoch)
    seen = pairs(epoch)
    everything = {(s, g, p) for s, sizes in SIZES.items() for g, size in enumerate(sizes) for p in range(size)}
    assert len(seen) == len(everything)
    assert set(seen) == everything
    sizes = [sum(s.stop - s.first for s in slices) for _, slices in epoch]
    assert max(sizes) <= 6
    assert max(sizes) - min(sizes) <= 1, "a step of the few pairs that are left counts each of them many times over"


@pytest.mark.parametrize("start", range(0, 22))
def test_starting_anywhere_goes_on_as_if_never_stopped(start: int) -> None:
    assert steps(ORDER, start, 22) == steps(ORDER, 0, 22)[start:]


def test_epochs_and_seeds_differ_and_repeat() -> None:
    length = ORDER.steps_per_epoch
    first, second = pairs(steps(ORDER, 0, length)), pairs(steps(ORDER, length, 2 * length))
    assert first != second
    assert sorted(first) == sorted(second)
    other = Order(ORDER.pairs, 6, seed=4, window=2)
    assert pairs(steps(other, 0, length)) != first


def test_finished_windows_are_not_opened_again() -> None:
    opened: list[int] = []

    def sizes(shard: int) -> list[int]:
        opened.append(shard)
        return SIZES[shard]

    last = ORDER.steps_per_epoch - 1
    list(ORDER.steps(last, last + 1, sizes))
    assert len(set(opened)) <= 3


@pytest.mark.parametrize("start", range(0, 22, 3))
def test_with_parts_of_questions_too_starting_anywhere_goes_on(start: int) -> None:
    order = replace(ORDER, together=2)
    assert steps(order, start, 22) == steps(order, 0, 22)[start:]


def test_a_step_of_256_pairs_is_of_at_least_64_questions() -> None:
    """15 pairs a question, as the paper allows: without parts a step would be of 18."""
    sizes = {shard: [15] * 300 for shard in range(4)}
    order = Order(tuple(sum(s) for s in sizes.values()), batch=256, window=4)
    found = list(order.steps(0, order.steps_per_epoch, sizes.__getitem__))
    questions = [len({(s.shard, s.group) for s in slices}) for _, slices in found]
    assert min(questions[:-1]) >= 64
    assert max(s.stop - s.first for _, slices in found for s in slices) <= 4
    whole = list(replace(order, together=15).steps(0, 2, sizes.__getitem__))
    assert len(whole[0][1]) <= 19
    everything = pairs(found)
    assert len(everything) == len(set(everything)) == sum(order.pairs)


def test_the_papers_schedule() -> None:
    rates = [lr_at(step, 1000, peak_lr=5e-6, warm_up=0.05) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-7)
    assert rates[49] == rates[50] == pytest.approx(5e-6)
    assert rates[525] == pytest.approx(2.5e-6, rel=1e-2)
    assert 0 < rates[-1] < 1e-10
    assert lr_at(999, 1000, peak_lr=1.0, warm_up=0, schedule="constant") == 1.0
    assert lr_at(500, 1000, peak_lr=1.0, warm_up=0, schedule="linear") == pytest.approx(0.5)
    assert lr_at(1000, 1000, peak_lr=8e-7, warm_up=0.05, final_lr=2e-9) == pytest.approx(2e-9)
    assert lr_at(49, 1000, peak_lr=8e-7, warm_up=0.05, final_lr=2e-9) == pytest.approx(8e-7)
