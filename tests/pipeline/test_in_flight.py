"""How many questions a worker of a build keeps in flight."""

from __future__ import annotations

from typing import Any

import pytest

from mmpr_pipeline.engines.engine import EngineInfo
from mmpr_pipeline.engines.pool.pool import EnginePool
from mmpr_pipeline.engines.start import LocalEngine
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.workers.shards_on_ray import MOST_TOGETHER, bundles, in_flight


def pool(actors: int, sequences: int | None = 256) -> EnginePool:
    return EnginePool(
        [object()] * actors,
        EngineInfo(engine="vllm", model="m", context=None, can_continue=True, sequences=sequences),
    )


@pytest.mark.parametrize(
    ("settings", "actors", "workers", "expected"),
    [
        ({}, 1, 2, 64),
        ({}, 8, 4, 256),
        ({}, 8, 8, 128),
        ({"sampling.adaptive": False}, 8, 8, 32),
        ({"in_flight": 5}, 8, 8, 5),
    ],
)
def test_workers_take_as_many_questions_as_fill_the_engines(
    settings: dict[str, Any], actors: int, workers: int, expected: int
) -> None:
    config = load_config(None, {"sources": ["nano_grid"], "out": "x", **settings})
    assert in_flight(config, pool(actors), workers) == expected


def test_engines_that_do_not_say_what_they_hold_leave_it_to_the_default() -> None:
    config = load_config(None, {"sources": ["nano_grid"], "out": "x"})
    assert in_flight(config, pool(8, sequences=None), 2) is None
    assert in_flight(config, LocalEngine(config.engine), 2) is None
    assert in_flight(config, None, 2) is None


@pytest.mark.parametrize(
    ("rows", "wanted", "expected"),
    [
        (500.0, 64, 1),  # a shard fills the engines by itself
        (64.0, 64, 1),
        (48.0, 64, 3),  # 144 questions, so that the end of one shard is the middle of another
        (0.4, 64, MOST_TOGETHER),
        (0.0, 64, MOST_TOGETHER),
    ],
)
def test_small_shards_are_taken_in_hand_together(rows: float, wanted: int, expected: int) -> None:
    assert {len(bundle) for bundle in bundles(range(96), rows, wanted, workers=2)} == {expected}


def test_every_worker_gets_shards_before_one_gets_many() -> None:
    found = bundles([3, 5, 8, 9, 11], 1.0, 64, workers=4)
    assert [list(bundle) for bundle in found] == [[3], [5], [8], [9], [11]]
    assert bundles([], 1.0, 64, workers=4) == []
