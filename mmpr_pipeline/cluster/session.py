"""Ray: started on this machine, or a cluster to connect to; what a task came to (its result, its own error, or the end
of all its workers), and the end of many tasks.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

import ray
from ray import _raylet
from ray._private import ray_constants, services
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.exceptions import RayError, RayTaskError

from mmpr_pipeline.cluster import no_dashboard
from mmpr_pipeline.core.errors import ConfigError, EngineError, MmprError

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0, Ray's name for a node that has no others: it and all its processes listen on 127.0.0.1 alone."""

_OBSERVERS = ("start_api_server", "start_monitor", "start_log_monitor")
"""Processes that Ray starts beside a node: the server of the dashboard (even without a dashboard), the autoscaler's
monitor, and the one that sends logs to the driver. A Ray of this machine, for one build, uses none of them."""

_AGENT = "--dashboard_agent_command="
_AGENT_PORTS = ("METRICS_AGENT_PORT_NAME", "METRICS_EXPORT_PORT_NAME", "DASHBOARD_AGENT_LISTEN_PORT_NAME")
"""Where Ray has the names of the files in which a raylet looks for its agent's ports; older versions have none."""

RAY_STARTS = 3
"""Times that Ray is started here before it is given up."""


@contextmanager
def ray_session(address: str) -> Iterator[int]:
    """Connect to Ray (`local` starts one here) and disconnect at the end; gives the cluster's CPUs.

    Whoever reaches an open Ray runs code by it. One that is started here listens on the loopback address, and asks
    for a token of its own, which is in the environment of its processes and in no file.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():  # a caller's own session, e.g. inside a Ray job's driver or a test
        yield max(2, int(ray.cluster_resources().get("CPU", 1)))
        return
    stop = signal.getsignal(signal.SIGTERM)
    with _closed_to_others() if address == "local" else nullcontext():
        _connect(address)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # Ray took it to end at once; a stopped build closes its journals
        try:
            yield max(2, int(ray.cluster_resources().get("CPU", 1)))
        finally:
            ray.shutdown()


@contextmanager
def _closed_to_others() -> Iterator[None]:
    """The environment for a Ray of this machine, as it was before afterwards. A user's own RAY_AUTH_MODE is kept."""
    before = dict(os.environ)
    with_others = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_LOOPBACK] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # read from the environment when Ray was imported
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    _read_token_anew()
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = with_others
        for name in (_LOOPBACK, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
        _read_token_anew()


def _read_token_anew() -> None:
    """Ray reads mode and token once a process; an earlier session of this one had others."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _unobserved() -> Iterator[None]:
    """Start nodes without `_OBSERVERS` and the dashboard's agent, for which Ray has no setting: half of a start's
    processor time."""
    instead: list[tuple[Any, str, Callable[..., Any]]] = [(Node, name, lambda *_, **__: None) for name in _OBSERVERS]
    if all(hasattr(_raylet, name) for name in _AGENT_PORTS):
        started = services.start_ray_process
        instead.append((services, "start_ray_process", lambda words, *a, **k: started(_without_agent(words), *a, **k)))
    if all(map(find_spec, ("aiohttp_cors", "opencensus", "prometheus_client"))):
        # Ray asks whether the dashboard's packages are installed by importing them all, for 0.3 s.
        instead.append((ray._private.utils, "get_dashboard_dependency_error", lambda: None))
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in instead]
    for owner, name, replacement in instead:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


def _without_agent(command: list[str]) -> list[str]:
    """A command that starts a process of Ray; a raylet's names `no_dashboard` in place of the dashboard's agent."""
    words = []
    for word in command:
        if word.startswith(_AGENT):
            session = [option for option in shlex.split(word) if option.startswith("--session-dir=")]
            ports = ",".join(getattr(_raylet, name) for name in _AGENT_PORTS)
            agent = [sys.executable, "-S", "-E", no_dashboard.__file__, *session, f"--ports={ports}"]
            word = _AGENT + subprocess.list2cmdline(agent)
        words.append(word)
    return words


def _connect(address: str) -> None:
    """`ray.init`; raises ConfigError where there is no cluster, EngineError where Ray does not start here."""
    here = address == "local"
    options: dict[str, object] = {"num_cpus": max(2, os.cpu_count() or 1), "include_dashboard": False} if here else {}
    for _ in range(RAY_STARTS):
        try:
            with _unobserved() if here else nullcontext():
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


def result(ref: Any, lost: Callable[[str], MmprError]) -> Any:
    """What the task gave. Raises its own MmprError as it was, and `lost(NAME OF RAY'S ERROR)` where Ray gave it up."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error.cause, MmprError):
            raise error.cause from None
        raise
    except RayError as error:
        raise lost(type(error).__name__) from error


def end(running: list[Any]) -> None:
    """Stop what still runs, and give workers time to close their journals.

    What ended one task often ends all: those that are about to end are let. Ray 2.60 was seen to abort its process over
    a task that ended while it was cancelled ("Tried to complete task that was not pending").
    """
    if running:
        _, running = ray.wait(running, num_returns=len(running), timeout=1)
    for ref in running:
        ray.cancel(ref)
    if running:
        ray.wait(running, num_returns=len(running), timeout=10)
