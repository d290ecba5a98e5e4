"""A build on a cluster of three nodes, one of which is killed in the middle: no byte differs, nothing is lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.cluster.sessions import ray_environment
from tests.pipeline.made import files_of, make_source
from tests.pipeline.workers.test_shards_on_ray import build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@ray_environment()
@pytest.mark.campaign
def test_a_node_that_is_killed_costs_what_it_had_in_flight(tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    source = make_source(tmp_path / "source", questions=90, open_ended=10)
    log = tmp_path / "log"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        cluster.wait_for_nodes()
        killed: list[int] = []

        def kill_later() -> None:
            deadline = time.monotonic() + 200
            while time.monotonic() < deadline:
                lines = len(log.read_text().splitlines()) if log.exists() else 0
                if lines >= 60:
                    cluster.remove_node(nodes[0], allow_graceful=False)
                    killed.append(lines)
                    return
                time.sleep(0.1)

        killer = threading.Thread(target=kill_later)
        killer.start()
        script = {"latency": 0.15, "log": str(log)}
        settings = {"shards": 6, "in_flight": 4, "engine.actors": 3, "engine.script": script}
        summary = build(source, tmp_path / "killed", **settings)
        killer.join()
        assert killed, "the build was over before the node was killed"
        total = len(set(log.read_text().splitlines()))
        assert killed[0] < total, "there was work left when the node was killed"
        assert len(ray.nodes()) == 3
        alive_until = time.monotonic() + 120  # Ray notices a lost node by its missing health checks
        while sum(node["Alive"] for node in ray.nodes()) != 2 and time.monotonic() < alive_until:
            time.sleep(0.2)
        assert sum(node["Alive"] for node in ray.nodes()) == 2
        assert summary["counts"]["questions"] == 100
        assert "poison" not in summary["counts"]["rejected"]
        build(source, tmp_path / "plain", shards=6)
        assert files_of(tmp_path / "killed") == files_of(tmp_path / "plain")
        assert not (tmp_path / "killed" / ".progress.json").exists()
    finally:
        ray.shutdown()
        cluster.shutdown()
