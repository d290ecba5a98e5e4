from __future__ import annotations

import asyncio
from functools import partial
from statistics import mean

import pytest

from tests.bench.loaded import load

engines = load("engines")


def simulated(number: int, each: int, *, adaptive: bool = True, in_flight: int | None = None) -> dict[str, float]:
    row: dict[str, float] = engines.run(partial(engines.simulate, number, each, adaptive, in_flight))
    return row


def test_one_sequence_alone_takes_its_prompt_and_its_steps() -> None:
    async def alone() -> float:
        loop = asyncio.get_running_loop()
        await engines.SimulatedEngine(loop).submit("q", [100], 1_900)
        return float(loop.time())

    assert engines.run(alone) == pytest.approx(1_900 / 27_600 + 100 * 0.00648, rel=1e-6)


def test_a_full_batch_makes_the_stated_rate_and_the_rest_waits() -> None:
    async def crowd() -> float:
        loop = asyncio.get_running_loop()
        await engines.SimulatedEngine(loop).submit("q", [100] * 512, 0)
        return float(loop.time())

    assert engines.run(crowd) == pytest.approx(512 * 100 / 12_500, rel=1e-6)


def test_flat_sampling_takes_its_rollouts_and_engines_are_busy() -> None:
    row = simulated(2, 60, adaptive=False)
    assert row["questions"] == 120
    assert 120 * 32 <= row["rollouts"] <= 120 * 34
    assert 0.8 < row["busy"] <= 1
    assert row["tokens_per_s"] < 12_500
    assert simulated(2, 60, adaptive=False) == row  # the same each time


def test_rounds_take_fewer_rollouts_for_nearly_the_pairs_of_flat_sampling() -> None:
    flat, rounds = simulated(2, 60, adaptive=False), simulated(2, 60)
    assert rounds["rollouts"] < 0.7 * flat["rollouts"]
    assert rounds["pairs"] > 0.9 * flat["pairs"]


def test_few_questions_in_flight_leave_engines_half_empty() -> None:
    few, many = simulated(2, 120, in_flight=8), simulated(2, 120, in_flight=96)
    assert few["batch"] < 0.5 * many["batch"]
    assert few["seconds"] > 1.5 * many["seconds"]


def test_engines_decode_what_their_cache_holds_and_compute_little_again() -> None:
    """Responses of 16,000 tokens, 6,400 to 27,000 by their source: without a limit half of them is computed again."""

    def long_thinking(ordered: bool) -> dict[str, float]:
        row: dict[str, float] = engines.run(
            partial(engines.simulate, 2, 40, True, None, 16_000, 32_768, engines.SEQUENCES, ordered)
        )
        return row

    limited, unlimited = long_thinking(True), long_thinking(False)
    assert limited["recomputed"] < 0.05
    assert unlimited["recomputed"] > 0.3
    assert limited["tokens_per_s"] > 0.8 * unlimited["tokens_per_s"]


@pytest.mark.slow
@pytest.mark.campaign
def test_long_questions_first_and_no_wait_between_rounds_shorten_the_end() -> None:
    """Over builds of several sizes: the last question of one build may begin late by chance."""

    def busy(ordered: bool) -> float:
        sizes = ((2, 400), (2, 500), (3, 300), (3, 400))
        return mean(engines.run(partial(engines.simulate, *size, True, ordered=ordered))["busy"] for size in sizes)

    assert busy(ordered=True) > busy(ordered=False) + 0.005
