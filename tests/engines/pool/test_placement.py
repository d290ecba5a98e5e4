"""Where engine actors find GPUs: on real Ray clusters whose nodes say that they have some."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from mmpr_pipeline.cluster.session import RAY_STARTS
from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.pool import launch, opening
from mmpr_pipeline.engines.pool.launch import start_pool, why_waiting
from mmpr_pipeline.engines.pool.pool import EnginePool
from mmpr_pipeline.engines.registry import EngineKind
from mmpr_pipeline.engines.settings import EngineSettings
from tests.cluster.sessions import ray_environment
from tests.engines.pool.test_pool import answers, expected, requests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(autouse=True)
def scripted_engines_need_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = EngineKind(make=cast(Any, None), identity=lambda settings: {}, on_gpu=True)
    monkeypatch.setattr(launch, "engine_kind", lambda settings: kind)
    monkeypatch.setattr(launch, "uses_gpu", lambda nodes: True)
    monkeypatch.setattr(opening, "GRACE", 8.0)


@contextmanager
def cluster_of(*gpus: int) -> Iterator[Any]:
    """A Ray cluster whose nodes have this many GPUs each, as they say."""
    import ray
    from ray.cluster_utils import Cluster

    with ray_environment():
        for tries in range(RAY_STARTS):
            try:
                cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": gpus[0]})
                break
            except Exception:  # its processes were not up within 30 s
                if tries == RAY_STARTS - 1:
                    raise
        try:
            for count in gpus[1:]:
                cluster.add_node(num_cpus=4, num_gpus=count)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


async def devices(pool: EnginePool, which: int) -> str:
    def seen(actor: Any) -> str:
        import ray

        return f"{ray.get_runtime_context().get_node_id()} {os.environ['CUDA_VISIBLE_DEVICES']}"

    return str(await pool._actors[which].__ray_call__.remote(seen))


async def test_engines_have_gpus_of_their_own_the_others_join_when_some_are_free_and_too_large_ones_are_refused() -> (
    None
):
    with cluster_of(2, 2):
        # Four GPUs in all, two on each node.
        with pytest.raises(EngineError, match=r"needs 4 GPU.*largest of 2 node\(s\) has 2"):
            await asyncio.wait_for(start_pool(EngineSettings(name="scripted", tensor_parallel=4), 1), 10)
        settings = EngineSettings(name="scripted", script={"latency": 0.02})
        pool = await start_pool(settings, 5)
        try:
            assert len(pool._joined) == 4
            placed = {which: await devices(pool, which) for which in pool._joined}
            assert len(set(placed.values())) == 4, placed
            stats = await pool.stats()
            assert (stats.actors, stats.waiting, stats.lost) == (4, 1, 0)
            assert await answers(pool, requests(12)) == await expected(requests(12))
            [late] = set(range(5)) - pool._joined
            gone = min(pool._joined)
            import ray

            ray.kill(pool._actors[gone], no_restart=True)
            assert await asyncio.wait_for(devices(pool, late), 60) == placed[gone]
            assert await answers(pool, requests(12)) == await expected(requests(12))
        finally:
            await pool.close()


async def test_a_cluster_that_grows_from_no_gpus_is_waited_for_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "mmpr_pipeline.engines")
    with cluster_of(0) as cluster:
        settings = EngineSettings(name="scripted", tensor_parallel=2, node_wait_seconds=120)
        starting = asyncio.create_task(start_pool(settings, 1))
        await asyncio.sleep(4)
        assert not starting.done()
        cluster.add_node(num_cpus=4, num_gpus=2)
        pool = await starting
        try:
            assert await answers(pool, requests(4)) == await expected(requests(4))
        finally:
            await pool.close()
    assert "Waiting for a node" in caplog.text
    assert "needs 2 GPU(s) of one node" in caplog.text


def test_what_engines_wait_for_is_named() -> None:
    options = {"num_gpus": 4, "num_cpus": 6}
    nodes = [{"GPU": 4.0, "CPU": 16.0}]
    assert why_waiting(options, [{"GPU": 2.0, "CPU": 16.0}], {}) == "no node has 4 GPUs"
    assert "4 GPUs, 1 are free" in why_waiting(options, nodes, {"GPU": 1.0, "CPU": 9.0})
    assert "6 CPUs, 2 are free" in why_waiting(options, nodes, {"GPU": 4.0, "CPU": 2.0})
    assert why_waiting(options, nodes, {"GPU": 4.0, "CPU": 16.0}) == "they are loading their model"
