"""A Ray session of this machine is closed to all others."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys

import pytest

LISTENERS = """
import json, os, psutil, ray
from mmpr_pipeline.cluster.session import ray_session

@ray.remote
def there():
    return os.environ.get("RAY_AUTH_MODE"), bool(os.environ.get("RAY_AUTH_TOKEN"))

with ray_session("local"):
    seen = ray.get(there.remote())
    me = psutil.Process()
    found = []
    for process in [me, *me.children(recursive=True)]:
        try:
            lines = process.net_connections(kind="inet")
        except psutil.Error:
            continue
        found += [line.laddr.ip for line in lines if line.status == psutil.CONN_LISTEN]
    print("SEEN", json.dumps([seen, sorted(set(found)), os.environ["RAY_AUTH_TOKEN"]]))
"""


@pytest.mark.slow
def test_ray_on_this_machine_asks_for_a_token_of_its_own() -> None:
    import json

    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", LISTENERS], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("SEEN")]
    (mode, has_token), addresses, token = json.loads(line.removeprefix("SEEN "))
    assert (mode, has_token) == ("token", True)
    assert len(token) == 64
    assert addresses
    assert [address for address in addresses if not ipaddress.ip_address(address).is_loopback] == []
