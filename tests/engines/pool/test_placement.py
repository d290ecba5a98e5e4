"""Where engine actors find GPUs: on real Ray clusters whose nodes say that they have some."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from mmpr_pipeline.cluster.session import RAY_STARTS
from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.pool import launch, lives
from mmpr_pipeline.engines.pool.launch import alive_nodes, start_pool, why_waiting
from mmpr_pipeline.engines.pool.pool import EnginePool
from mmpr_pipeline.engines.registry import EngineKind
from mmpr_pipeline.engines.settings import EngineSettings
from tests.chaos.phases import descendants, parents
from tests.cluster.sessions import ray_environment
from tests.engines.pool.test_pool import answers, expected, requests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(autouse=True)
def scripted_engines_need_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = EngineKind(make=cast(Any, None), identity=lambda settings: {}, on_gpu=True)
    monkeypatch.setattr(launch, "engine_kind", lambda settings: kind)
    monkeypatch.setattr(launch, "uses_gpu", lambda nodes: True)
    monkeypatch.setattr(lives, "GRACE", 8.0)


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


@contextmanager
def autoscaling_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A head without GPUs, and Ray's autoscaler, whose nodes are processes of this machine.

    As `ray.cluster_utils.AutoscalingCluster`, which first stops every Ray of the machine.
    """
    import ray
    import yaml
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE
    from ray.cluster_utils import Cluster

    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    address = f"{ray.util.get_node_ip_address()}:{port}"
    config = {
        "cluster_name": "of-processes",
        "max_workers": 2,
        "idle_timeout_minutes": 10,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {"resources": {"CPU": 4}, "node_config": {}, "max_workers": 0},
            "gpus": {"resources": {"CPU": 4, "GPU": 4}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "upscaling_speed": 1.0,
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{f"{name}_commands": [] for name in ("initialization", "setup", "head_setup", "worker_setup")},
        **{f"{name}_start_ray_commands": [] for name in ("head", "worker")},
    }
    (folder / "autoscaler.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("RAY_FAKE_CLUSTER", "1")
    monkeypatch.setenv("AUTOSCALER_UPDATE_INTERVAL_S", "1")
    head = {
        "num_cpus": 4, "num_gpus": 0, "gcs_server_port": port, "autoscaling_config": str(folder / "autoscaler.yaml"),
        "env_vars": {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID, "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE},
    }  # fmt: skip
    with ray_environment(observed=True):
        cluster = Cluster(initialize_head=True, head_node_args=head)
        started = set[int]()
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            yield
        finally:
            started = descendants(os.getpid())
            ray.shutdown()
            cluster.shutdown()
            for pid in started & parents().keys():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


async def devices(pool: EnginePool, which: int) -> str:
    def seen(actor: Any) -> str:
        import ray

        return f"{ray.get_runtime_context().get_node_id()} {os.environ['CUDA_VISIBLE_DEVICES']}"

    return str(await pool._actors[which].__ray_call__.remote(seen))


async def test_engines_have_gpus_of_their_own_and_the_others_join_when_some_are_free() -> None:
    """Two nodes of four GPUs, two for each engine."""
    with cluster_of(4, 4):
        settings = EngineSettings(name="scripted", script={"latency": 0.02}, tensor_parallel=2)
        pool = await start_pool(settings, 5)
        try:
            assert len(pool._joined) == 4
            placed = {which: await devices(pool, which) for which in pool._joined}
            assert len(set(placed.values())) == 4, placed
            assert Counter(seen.split()[1] for seen in placed.values()) == {"0,1": 2, "2,3": 2}
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


@pytest.mark.campaign
async def test_an_engine_larger_than_any_node_is_an_error_at_once() -> None:
    """Eight GPUs in all, four on each node."""
    with cluster_of(4, 4), pytest.raises(EngineError, match=r"needs 8 GPU.*largest of 2 node\(s\) has 4"):
        await asyncio.wait_for(start_pool(EngineSettings(name="scripted", tensor_parallel=8), 1), 10)


@pytest.mark.campaign
async def test_an_autoscaler_that_begins_at_no_gpus_adds_the_nodes_that_engines_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray's own autoscaler, which starts up to two nodes of four GPUs; no node has any at first."""
    caplog.set_level(logging.WARNING, "mmpr_pipeline.engines")
    with autoscaling_cluster(tmp_path, monkeypatch):
        settings = EngineSettings(name="scripted", script={"latency": 0.02}, tensor_parallel=2, node_wait_seconds=120)
        pool = await asyncio.wait_for(start_pool(settings, 3), 200)
        try:
            assert await answers(pool, requests(12)) == await expected(requests(12))
            await asyncio.wait_for(pool.settled(), 120)
            placed = [await devices(pool, which) for which in range(3)]
            assert len(set(placed)) == 3, placed
            assert len({seen.split()[0] for seen in placed}) == 2, "the third engine has no room on the first node"
            assert len(alive_nodes()) == 3, "and no node was started in vain"
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
