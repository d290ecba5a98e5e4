"""A Ray session: start one on this machine, or connect to a cluster."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from mmpr_pipeline.core.errors import ConfigError, EngineError

RAY_STARTS = 3
"""Times that Ray is started here before it is given up."""


@contextmanager
def ray_session(address: str) -> Iterator[int]:
    """Connect to Ray (`local` starts one here) and disconnect at the end; gives the cluster's CPUs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():  # a caller's own session, e.g. inside a Ray job's driver or a test
        yield max(2, int(ray.cluster_resources().get("CPU", 1)))
        return
    stop = signal.getsignal(signal.SIGTERM)
    _connect(address)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)  # Ray took it to end at once; a build that is stopped closes its journals
    try:
        yield max(2, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """`ray.init`; raises ConfigError where there is no cluster, EngineError where Ray does not start here."""
    here = address == "local"
    options: dict[str, Any] = {"num_cpus": max(2, os.cpu_count() or 1), "include_dashboard": False} if here else {}
    for _ in range(RAY_STARTS):
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
            return
        except (ConnectionError, RayError, ValueError) as error:
            raise ConfigError(
                f"Cannot reach a Ray cluster at {address!r}: {error}",
                remedy="Use --address local to run here, auto on a node of a cluster, or ray://HOST:10001 from "
                "outside.",
            ) from None
        except Exception as error:  # Ray's own: its processes were not up within 30 s, as on a very busy machine
            failed = str(error)
            ray.shutdown()
    raise EngineError(
        f"Ray did not start on this machine: {failed}",
        remedy="The machine is usually overloaded or out of memory. Run the same command again when load drops.",
    )
