"""A Ray session of this machine is closed to all others."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mmpr_pipeline.cluster.session import _closed_to_others, _read_token_anew

SESSION = """
import json, os, subprocess, sys
import psutil, ray
from mmpr_pipeline.cluster.session import ray_session

INTRUDER = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); print('IN')"

def intruding(**token):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", INTRUDER, address], env={**environment, **token}, capture_output=True, text=True,
        timeout=120,
    )
    return [done.stdout.strip(), done.stderr[-300:]]

@ray.remote
def there():
    return os.environ.get("RAY_AUTH_MODE"), len(os.environ.get("RAY_AUTH_TOKEN", ""))

with ray_session("local"):
    report = {"worker": ray.get(there.remote()), "token": os.environ["RAY_AUTH_TOKEN"], "listens": [], "runs": []}
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            report["runs"].append(" ".join(process.cmdline()))
            lines = process.net_connections(kind="inet")
        except psutil.Error:
            continue
        report["listens"] += [line.laddr.ip for line in lines if line.status == psutil.CONN_LISTEN]
    report["open"] = intruding(RAY_AUTH_MODE="disabled")
    report["wrong"] = intruding(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="f" * 64)
    report["right"] = intruding(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=report["token"])
report["after"] = [name for name in os.environ if name.startswith("RAY_AUTH")]
print("SEEN", json.dumps(report))
"""


@pytest.fixture
def environment() -> Iterator[pytest.MonkeyPatch]:
    """Puts Ray's mode back along with the variables: a plain `ray.init` of an earlier test leaves both at "token"."""
    with pytest.MonkeyPatch.context() as changes:
        yield changes
    _read_token_anew()


def test_the_environment_of_a_local_session_holds_while_it_lasts(environment: pytest.MonkeyPatch) -> None:
    from ray import _raylet
    from ray._private import services

    raylet: Any = _raylet  # compiled, without types

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        environment.delenv(name, raising=False)
    before = dict(os.environ)
    tokens: set[str] = set()
    for _ in range(2):
        with _closed_to_others():
            assert services.get_node_ip_address() == "127.0.0.1"
            assert raylet.get_authentication_mode() == raylet.AuthenticationMode.TOKEN
            tokens.add(raylet.AuthenticationTokenLoader.instance().get_raw_token())
            assert os.environ["RAY_AUTH_TOKEN"] in tokens
        assert dict(os.environ) == before
    assert len(tokens) == 2, "each session has its own"
    environment.setenv("RAY_AUTH_MODE", "disabled")
    with _closed_to_others():
        assert raylet.get_authentication_mode() == raylet.AuthenticationMode.DISABLED, "as the user has set it"
        assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_nobody_else_reaches_a_ray_of_this_machine_or_gets_in_without_its_token() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-c", SESSION]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=450, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("SEEN")]
    report = json.loads(line.removeprefix("SEEN "))
    assert report["worker"] == ["token", 64]
    assert len(report["token"]) == 64
    addresses = [ipaddress.ip_address(address) for address in set(report["listens"])]
    assert addresses
    outside = [a for a in addresses if not (getattr(a, "ipv4_mapped", None) or a).is_loopback]
    assert outside == []
    assert any("raylet" in command for command in report["runs"])
    observers = ("dashboard/dashboard.py", "dashboard/agent.py", "autoscaler/_private/monitor.py", "log_monitor.py")
    assert [name for name in observers if any(name in command for command in report["runs"])] == []
    assert report["right"][0] == "IN", report["right"]
    assert report["open"][0] == "", "without a token"
    assert report["wrong"][0] == "", "with another token"
    assert report["after"] == [], "the environment is as it was"
