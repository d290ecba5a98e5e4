"""Where a campaign's builds write and run: a folder, a bucket behind a faulty proxy, a cluster of three nodes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.processes import MARK
from tests.chaos.witness import BucketOutput, FolderOutput, Output
from tests.storage.faulty_proxy import KINDS, FaultyProxy
from tests.storage.seaweed import ACCESS_KEY, SECRET_KEY, SeaweedServer, client_for

PROCESSES = ("driver", "driver", "engine", "engine", "worker", "worker", "interrupt", "terminate", "board", "raylet")
"""Kinds of blows at the build's own processes, as often as they shall be drawn."""

FAULT_SHARE = 0.07
"""Share of the requests to the store that meet a fault, in a campaign on S3."""


PATIENCE = 45
"""Seconds for which a build on S3 waits for its store: longer than the store is away after a blow, shorter than an
outage, which lasts until the build has given up."""


class Place:
    """Where a campaign's builds write and run, and what can be struck there beside their own processes."""

    kinds: tuple[str, ...] = PROCESSES
    """Kinds of blows that can be drawn here."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def settings(self) -> dict[str, Any]:
        """Settings of the build that name this place."""
        return {"out": self.output.url}

    def environment(self) -> dict[str, str]:
        """What the driver's environment needs."""
        return {}

    def strike(self, kind: str, draw: random.Random) -> bool:
        """Strike what is no process of the build, here the only thing there is; False where there was nothing."""
        raise ValueError(f"{type(self).__name__} has no {kind}")

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the store is away."""
        raise ValueError(f"{type(self).__name__} has no store")
        yield


class BucketPlace(Place):
    """An output on a real S3 server that can be killed, behind a proxy that makes some of its answers wrong."""

    kinds = (*PROCESSES, "store", "store", "store", "outage")

    def __init__(self, server: SeaweedServer, proxy: FaultyProxy, bucket: str) -> None:
        super().__init__(BucketOutput(server.address, bucket))
        self._server, self.proxy = server, proxy

    def environment(self) -> dict[str, str]:
        """See `Place`."""
        return {
            "AWS_ENDPOINT_URL": self.proxy.address,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "MMPR_STORE_PATIENCE": str(PATIENCE),
        }

    def strike(self, kind: str, draw: random.Random) -> bool:
        """Kill the server; it comes back some seconds later with what it had on disk."""
        with self.away():
            time.sleep(draw.uniform(0.5, 8))
        return True

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the server is dead."""
        self._server.kill()
        try:
            yield
        finally:
            self._server.start()


class ClusterPlace(Place):
    """A local output, and a Ray cluster of a head and two nodes that outlives the drivers."""

    kinds = ("driver", "driver", "engine", "worker", "worker", "interrupt", "board", "node", "node", "node")

    def __init__(self, folder: Path, cluster: Any) -> None:
        super().__init__(FolderOutput(folder / "out"))
        self._cluster = cluster
        self.nodes = [self._node() for _ in range(2)]

    def settings(self) -> dict[str, Any]:
        """See `Place`."""
        return {"out": self.output.url, "address": self._cluster.address, "workers": 2}

    def strike(self, kind: str, draw: random.Random) -> bool:
        """Kill a node with all that runs on it; another one joins some seconds later."""
        node = self.nodes.pop(draw.randrange(len(self.nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        time.sleep(draw.uniform(0, 5))
        self.nodes.append(self._node())
        return True

    def _node(self) -> Any:
        return _started(lambda: self._cluster.add_node(num_cpus=1))


@contextmanager
def folder_place(folder: Path, seed: int, mark: str) -> Iterator[Place]:
    """A local output, and a Ray that each run starts for itself."""
    yield Place(FolderOutput(folder / "out"))


@contextmanager
def bucket_place(folder: Path, seed: int, mark: str) -> Iterator[BucketPlace]:
    """An S3 server of its own, a proxy before it, an empty bucket."""
    server = SeaweedServer(folder / "server")
    try:
        server.start()
        client_for(server.address).create_bucket(Bucket="chaos")
        with FaultyProxy(server.address, seed, dict.fromkeys(KINDS, FAULT_SHARE / len(KINDS))) as proxy:
            yield BucketPlace(server, proxy, "chaos")
    finally:
        server.kill()


@contextmanager
def cluster_place(folder: Path, seed: int, mark: str) -> Iterator[ClusterPlace]:
    """A Ray cluster of three nodes on this machine, whose processes carry the mark."""
    from ray.cluster_utils import Cluster

    before = os.environ.get(MARK)
    os.environ[MARK] = mark
    cluster = None
    try:
        head = {"num_cpus": 1, "include_dashboard": False}
        cluster = _started(lambda: Cluster(initialize_head=True, head_node_args=head))
        yield ClusterPlace(folder, cluster)
    finally:
        if cluster is not None:
            cluster.shutdown()
        os.environ.pop(MARK)
        if before is not None:
            os.environ[MARK] = before


def _started(start: Callable[[], Any], tries: int = 3) -> Any:
    """What starts a node; Ray gives it half a minute, which a busy machine may overstep."""
    for number in range(tries):
        try:
            return start()
        except Exception:
            if number == tries - 1:
                raise
    raise AssertionError("unreachable")


PLACES = {"folder": folder_place, "bucket": bucket_place, "cluster": cluster_place}
