"""Engine actors on real Ray, with the scripted engine in them."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from mmpr_pipeline.config import EngineSettings
from mmpr_pipeline.errors import ConfigError, EngineError, ItemRejected
from mmpr_pipeline.records import Rollout
from mmpr_pipeline.sampling.actors import actor_options
from mmpr_pipeline.sampling.engine import SampleRequest
from mmpr_pipeline.sampling.make import LocalEngine, actor_count, make_engine, start_engines
from mmpr_pipeline.sampling.pool import EnginePool
from tests.sampling.contract import CONTINUING, SAMPLING, Check, ask, seen_question


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def one_actor(cluster: None) -> Iterator[EnginePool]:
    pool = cast(EnginePool, asyncio.run(start_engines(EngineSettings(name="scripted", actors=1))))
    yield pool
    asyncio.run(pool.close())


@asynccontextmanager
async def pool_of(actors: int, **script: Any) -> AsyncIterator[EnginePool]:
    pool = await start_engines(EngineSettings(name="scripted", actors=actors, script=script))
    try:
        yield cast(EnginePool, pool)
    finally:
        await pool.close()


def requests(count: int) -> list[SampleRequest]:
    return [ask(seen_question(f"q{i}", images=()), seed=i * 5000) for i in range(count)]


async def answers(engine: Any, asked: list[SampleRequest]) -> list[list[Rollout] | BaseException]:
    return await asyncio.gather(*(engine.sample(request) for request in asked), return_exceptions=True)


async def expected(asked: list[SampleRequest]) -> list[list[Rollout] | BaseException]:
    return await answers(make_engine(EngineSettings(name="scripted")), asked)


@pytest.mark.parametrize("check", [*SAMPLING, *CONTINUING], ids=lambda check: check.__name__)
async def test_contract(check: Check, one_actor: EnginePool) -> None:
    await check(one_actor)


@pytest.mark.usefixtures("cluster")
async def test_work_is_spread_and_a_question_stays_where_it_was() -> None:
    async with pool_of(3, latency=0.05) as pool:
        asked = requests(30)
        assert await answers(pool, asked) == await expected(asked)
        homes = dict(pool._homes)
        assert [list(homes.values()).count(which) for which in range(3)] == [10, 10, 10]
        await answers(pool, asked[:5])
        assert {name: pool._homes[name] for name in homes} == homes


async def test_a_pickled_pool_serves_on(one_actor: EnginePool) -> None:
    copy = pickle.loads(pickle.dumps(one_actor))
    assert copy.info == one_actor.info
    assert await answers(copy, requests(3)) == await expected(requests(3))


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("actors", [1, 3])
async def test_nothing_is_lost_when_an_actor_dies(actors: int, tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    async with pool_of(actors, latency=0.02, kill_after=5, kill_marker=str(marker)) as pool:
        asked = requests(60)
        assert await answers(pool, asked) == await expected(asked)
        assert marker.exists()
        assert (await pool.stats()).restarts == 1


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("actors", [1, 2])
async def test_only_the_poisonous_question_is_rejected(actors: int) -> None:
    async with pool_of(actors, latency=0.02, crash_on=["q7"]) as pool:
        asked = requests(30)
        got, wanted = await answers(pool, asked), await expected(asked)
        poisoned = got[7]
        assert isinstance(poisoned, ItemRejected)
        assert poisoned.reason == "poison"
        assert got[:7] + got[8:] == wanted[:7] + wanted[8:]


@pytest.mark.usefixtures("cluster")
async def test_refusals_come_through_with_their_reason() -> None:
    async with pool_of(1, fail_on=["q1"], fail_reason="prompt_too_long") as pool:
        _, refused = await answers(pool, requests(2))
        assert isinstance(refused, ItemRejected)
        assert refused.reason == "prompt_too_long"


@pytest.mark.usefixtures("cluster")
async def test_actors_that_are_gone_for_good_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmpr_pipeline.sampling.pool.REVIVALS", 2)
    async with pool_of(1) as pool:
        await pool.close()
        with pytest.raises(EngineError, match="does not come back"):
            await pool.sample(requests(1)[0])


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"name": "scripted", "script": {"nonsense": 1}}, ConfigError),
        ({"name": "replay", "rollouts": "/nowhere/r.jsonl"}, EngineError),
    ],
)
@pytest.mark.parametrize("actors", [0, 2])
async def test_an_engine_that_cannot_start_is_an_error_at_once(
    actors: int, settings: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="What to do"):
        await asyncio.wait_for(start_engines(EngineSettings(actors=actors, **settings)), timeout=30)


async def test_a_vllm_in_the_workers_is_looked_for_before_they_start() -> None:
    with pytest.raises(EngineError, match="/nowhere"):
        await start_engines(EngineSettings(name="vllm", model="/nowhere", actors=0))


def test_engines_without_a_model_need_no_actors() -> None:
    assert actor_count(EngineSettings(name="vllm")) == 1
    assert actor_count(EngineSettings(name="replay", rollouts="x")) == 0
    assert actor_count(EngineSettings(name="scripted", actors=3)) == 3


async def test_engines_in_the_workers_are_made_once_in_each() -> None:
    settings = EngineSettings(name="scripted", script={"tokens": 7})
    first, second = LocalEngine(settings), pickle.loads(pickle.dumps(LocalEngine(settings)))
    assert first.open() is second.open()
    assert first.open() is not LocalEngine(EngineSettings(name="scripted")).open()
    assert await answers(second, requests(1))
    await first.close()


def test_more_gpus_than_the_cluster_has_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmpr_pipeline.sampling.actors.uses_gpu", lambda cluster: True)
    settings = EngineSettings(name="vllm", tensor_parallel=4)
    with pytest.raises(EngineError, match="need 8; the cluster has 4"):
        actor_options(settings, 2, {"GPU": 4.0, "CPU": 32.0})
    assert actor_options(settings, 1, {"GPU": 4.0, "CPU": 32.0})["num_gpus"] == 4
