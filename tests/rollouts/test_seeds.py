from __future__ import annotations

import subprocess
import sys

import pytest

from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.rollouts.seeds import MAX_ROUNDS, continuation_seed, sampling_seed

IDS = [content_id(str(i)) for i in range(3000)]


def test_seeds_are_the_same_for_ever() -> None:
    """A changed seed changes every shard that is ever rebuilt."""
    assert sampling_seed(0, IDS[0], 0) == 2591196224466777209
    assert sampling_seed(0, IDS[0], 3) == 2591196224466777209 + 3 * 4096
    assert continuation_seed(0, IDS[0], 32) == 2591196224466777209 + 4096 * 1024 + 32


def test_seeds_do_not_depend_on_the_process() -> None:
    code = f"from mmpr_pipeline.rollouts.seeds import *; print(sampling_seed(5, {IDS[0]!r}, 2))"
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
