"""Engines that fail to start again, fail while they serve, or have too much to do; on real Ray."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.engines.engine import SampleRequest
from tests.chaos.phases import until
from tests.cluster.sessions import local_ray
from tests.engines.contract import ask, seen_question
from tests.engines.pool.test_pool import answers, expected, pool_of, requests

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with local_ray():
        yield


async def kill(pool: Any, which: int) -> None:
    import ray

    ray.kill(pool._actors[which], no_restart=False)
    await asyncio.sleep(0.1)


@pytest.mark.campaign
async def test_an_engine_whose_next_start_fails_for_a_while_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory that is not free yet, a Hub that answers 500: nobody asks by hand, and nothing is lost."""
    caplog.set_level(logging.INFO, "mmpr_pipeline.engines")
    refuse = tmp_path / "refuse"
    async with pool_of(2, latency=0.05, refuse_while=str(refuse)) as pool:
        refuse.touch()
        await kill(pool, 0)
        assert await answers(pool, requests(12)) == await expected(requests(12))
        assert set(pool._lives.reviving) == {0}
        await until(lambda: "did not start, try 1" in caplog.text, 60)
        refuse.unlink()
        await asyncio.wait_for(pool.settled(), 60)
        assert (await pool.stats()).actors == 2
        assert await answers(pool, requests(12)) == await expected(requests(12))
    said = caplog.text
    assert "Engine 0 died with" in said
    assert "did not start, try 1" in said
    assert "refuses to start" in said
    assert "Engine 0 serves after" in said


async def test_an_engine_that_never_starts_again_is_given_up_and_its_place_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr("mmpr_pipeline.engines.pool.lives.REVIVALS", 2)
    refuse = tmp_path / "refuse"
    async with pool_of(2, latency=0.02, refuse_while=str(refuse)) as pool:
        refuse.touch()
        await kill(pool, 1)
        assert await answers(pool, requests(20)) == await expected(requests(20))
        await asyncio.wait(pool._lives.reviving.values(), timeout=60)
        deadline = time.monotonic() + 20
        while (stats := await pool.stats()).lost != 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        assert (stats.actors, stats.lost, stats.waiting) == (1, 1, 0)
        with pytest.raises(ray.exceptions.ActorDiedError):
            await pool._actors[1].ready.remote()
        assert await answers(pool, requests(20)) == await expected(requests(20)), "the other one serves on"


@pytest.mark.campaign
async def test_a_sick_engine_costs_time_and_never_the_build(tmp_path: Path) -> None:
    """It served, then every request to it fails: they are answered elsewhere, or by its next life."""
    fail = tmp_path / "fail"
    async with pool_of(2, latency=0.05, fail_while=str(fail)) as pool:
        assert await answers(pool, requests(4)) == await expected(requests(4))
        fail.touch()
        running = asyncio.create_task(answers(pool, requests(16)))
        await until(lambda: pool._lives.deaths["failed"], 60)
        fail.unlink()
        assert await asyncio.wait_for(running, 60) == await expected(requests(16))
        assert pool._lives.deaths["failed"] >= 1


def many(count: int, n: int = 4) -> list[SampleRequest]:
    return [ask(seen_question(f"q{i}", images=()), seed=i * 5000, n=n) for i in range(count)]


@pytest.mark.campaign
async def test_too_much_at_once_is_not_poison() -> None:
    """The engine's process is killed above 64 rollouts in flight, 256 are sent: all are answered, in few deaths."""
    async with pool_of(1, latency=0.2, crowd=64) as pool:
        began = time.monotonic()
        assert await asyncio.wait_for(answers(pool, many(64)), 240) == await expected(many(64))
        assert sum(pool._lives.deaths.values()) <= 7
        print(f"{time.monotonic() - began:.1f} s, {dict(pool._lives.deaths)}")


async def test_poison_in_a_crowd_is_found_and_nobody_else_is_rejected() -> None:
    async with pool_of(1, latency=0.02, crash_on=["q37"]) as pool:
        got, wanted = await asyncio.wait_for(answers(pool, many(64)), 240), await expected(many(64))
        assert isinstance(got[37], ItemRejected)
        assert got[37].reason == "poison"
        assert got[:37] + got[38:] == wanted[:37] + wanted[38:]
        assert sum(pool._lives.deaths.values()) <= 2 + 6 + 1, "log2 of those suspected"


@pytest.mark.campaign
async def test_out_of_memory_lowers_what_the_next_life_decodes_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """128 rollouts at once are too many for an engine with room for 40: its third life decodes 32, and nothing dies."""
    from mmpr_pipeline.engines.settings import EngineSettings
    from mmpr_pipeline.engines.start import start_engines

    script = {"latency": 0.1, "memory": 40}
    pool: Any = await start_engines(EngineSettings(name="scripted", actors=1, max_num_seqs=128, script=script))
    try:
        assert await asyncio.wait_for(answers(pool, many(96)), 240) == await expected(many(96))
        assert dict(pool._lives.deaths) == {"out_of_memory": 2}
        stats = await pool.stats()
        assert stats.capacity == 32
        assert pool._router._holds[1, 0] == 32, "and it is given less"
    finally:
        await pool.close()


@pytest.mark.campaign  # one of 16 endings, which `python -m tests.chaos.phases` goes through
async def test_loading_that_hangs_is_ended() -> None:
    from mmpr_pipeline.core.errors import EngineError
    from mmpr_pipeline.engines.settings import EngineSettings
    from mmpr_pipeline.engines.start import start_engines

    settings = EngineSettings(name="scripted", actors=1, load_seconds=1, script={"load_latency": 600})
    with pytest.raises(EngineError, match="died while it was starting"):
        await asyncio.wait_for(start_engines(settings), 120)
