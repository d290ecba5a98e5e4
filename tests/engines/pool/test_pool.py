"""Engine actors on real Ray, with the scripted engine in them."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from mmpr_pipeline.core.errors import ConfigError, EngineError, ItemRejected
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.actors.routing import ExpectedWork
from mmpr_pipeline.engines.engine import SampleRequest
from mmpr_pipeline.engines.pool.launch import actor_options
from mmpr_pipeline.engines.pool.pool import EnginePool
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import LocalEngine, actor_count, start_engines
from tests.cluster.sessions import local_ray
from tests.engines.contract import CONTINUING, SAMPLING, Check, ask, seen_question


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray():
        yield


@pytest.fixture(scope="module")
def one_actor(cluster: None) -> Iterator[EnginePool]:
    pool = cast(EnginePool, asyncio.run(start_engines(EngineSettings(name="scripted", actors=1))))
    yield pool
    asyncio.run(pool.close())


@asynccontextmanager
async def pool_of(actors: int, stall: float = 600, **script: Any) -> AsyncIterator[EnginePool]:
    pool = await start_engines(EngineSettings(name="scripted", actors=actors, script=script, stall_seconds=stall))
    try:
        yield cast(EnginePool, pool)
    finally:
        await pool.close()


def requests(count: int) -> list[SampleRequest]:
    return [ask(seen_question(f"q{i}", images=()), seed=i * 5000) for i in range(count)]


async def back(pool: EnginePool) -> None:
    """Wait until every actor that died serves again."""
    await asyncio.wait_for(pool.settled(), 60)


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
        homes = dict(pool._router._homes)
        assert [list(homes.values()).count(which) for which in range(3)] == [10, 10, 10]
        await answers(pool, asked[:5])
        assert {name: pool._router.home(name) for name in homes} == homes
        left = await pool._actors[0].work_left.remote()
        assert isinstance(left, ExpectedWork)
        assert not left.sequences


async def test_a_pickled_pool_serves_on(one_actor: EnginePool) -> None:
    copy = pickle.loads(pickle.dumps(one_actor))
    assert copy.info == one_actor.info
    assert await answers(copy, requests(3)) == await expected(requests(3))


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("actors", [1, 3])
async def test_nothing_is_lost_when_an_actor_dies(actors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("actors.routing", "pool.pool"):
        monkeypatch.setattr(f"mmpr_pipeline.engines.{module}.FEW", 2)  # of three, two are asked how busy they are
    marker = tmp_path / "killed"
    async with pool_of(actors, latency=0.02, kill_after=5, kill_marker=str(marker)) as pool:
        asked = requests(60)
        assert await answers(pool, asked) == await expected(asked)
        assert marker.exists()
        await back(pool)
        assert (await pool.stats()).restarts == 1


@pytest.mark.usefixtures("cluster")
@pytest.mark.campaign
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
    monkeypatch.setattr("mmpr_pipeline.engines.pool.lives.REVIVALS", 2)
    async with pool_of(1) as pool:
        await pool.close()

        async def ask() -> None:
            for request in requests(200):  # an actor that is being killed may still answer
                await pool.sample(request)

        with pytest.raises(EngineError, match="does not come back"):
            await ask()


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
        await asyncio.wait_for(start_engines(EngineSettings(actors=actors, **settings)), timeout=240)


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


@pytest.mark.usefixtures("cluster")
async def test_an_engine_that_hangs_is_started_anew_and_nothing_is_lost(tmp_path: Path) -> None:
    marker = tmp_path / "hung"
    async with pool_of(2, stall=2, latency=0.02, hang_once=str(marker)) as pool:
        asked = requests(40)
        assert await asyncio.wait_for(answers(pool, asked), 120) == await expected(asked)
        assert marker.exists()
        await back(pool)
        assert (await pool.stats()).restarts >= 1


@pytest.mark.usefixtures("cluster")
async def test_only_the_question_that_hangs_its_engine_is_rejected() -> None:
    async with pool_of(2, stall=2, latency=0.02, hang_on=["q3"]) as pool:
        got = await asyncio.wait_for(answers(pool, requests(8)), 200)
        wanted = await expected(requests(8))
        assert isinstance(got[3], ItemRejected)
        assert got[3].reason == "poison"
        assert got[:3] + got[4:] == wanted[:3] + wanted[4:]


@pytest.mark.usefixtures("cluster")
async def test_an_engine_that_is_slow_but_works_is_left_alone() -> None:
    """Each answer takes less than the limit, all together take more."""
    async with pool_of(1, stall=3, latency=0.8) as pool:
        for request in requests(8):
            await pool.sample(request)
        assert (await pool.stats()).restarts == 0
        await asyncio.sleep(4)  # idle is not hung
        await pool.sample(requests(1)[0])
        stats = await pool.stats()
        assert stats.restarts == 0
        assert 6 < stats.busy_seconds < stats.alive_seconds


@pytest.mark.usefixtures("cluster")
async def test_actors_without_room_are_not_waited_for_and_join_when_there_is_some() -> None:
    """Of three actors that each take all of a resource, two wait until the one before them has gone."""
    import ray

    from mmpr_pipeline.engines.actors.actor import EngineActor

    settings = EngineSettings(name="scripted", script={"latency": 0.05})
    actor = ray.remote(EngineActor).options(num_cpus=2, max_restarts=0, max_concurrency=100)
    handles = [actor.remote(settings) for _ in range(2)]
    pool = EnginePool(handles)
    try:
        await asyncio.wait_for(pool.open(), 60)
        [placed] = pool._joined
        copy = pickle.loads(pickle.dumps(pool))
        assert await answers(copy, requests(5)) == await expected(requests(5))
        assert set(copy._lives.reviving) == {1 - placed}
        ray.kill(handles[placed], no_restart=True)
        asked = requests(20)
        assert await asyncio.wait_for(answers(copy, asked), 120) == await expected(asked)
        assert set(copy._lives.reviving) == {placed}, "the other one has joined, the first is out of use"
    finally:
        await pool.close()


@pytest.mark.usefixtures("cluster")
async def test_when_all_stay_away_the_run_ends_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from mmpr_pipeline.engines.actors.actor import EngineActor

    monkeypatch.setattr("mmpr_pipeline.engines.pool.lives.ALL_LOST_SECONDS", 0.5)
    handle = ray.remote(EngineActor).options(num_cpus=64).remote(EngineSettings(name="scripted"))
    pool = EnginePool([handle], None, frozenset())
    with pytest.raises(EngineError, match=r"(?s)none came back.*What to do"):
        await pool.sample(requests(1)[0])
    await pool.close()


def test_a_cluster_without_room_for_one_engine_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmpr_pipeline.engines.pool.launch.uses_gpu", lambda nodes: True)
    settings = EngineSettings(name="vllm", tensor_parallel=4)
    small, large = {"GPU": 2.0, "CPU": 32.0}, {"GPU": 8.0, "CPU": 64.0}
    with pytest.raises(EngineError, match="needs 4"):
        actor_options(settings, 2, [small, small])  # four GPUs in all, and no node has them
    with pytest.raises(EngineError, match=r"(?s)has 0.*node_wait_seconds"):
        actor_options(settings, 2, [{"CPU": 8.0}])
    options = actor_options(settings, 8, [small, large])
    assert options["num_gpus"] == 4, "one now, the others later"
    assert options["num_cpus"] == 6, "two, and one for each process"
    assert actor_options(settings, 8, [{"GPU": 4.0, "CPU": 6.0}])["num_cpus"] == 3, "half is left to shard workers"
