"""A local store and S3 stores for the same tests: moto (in memory, quick) and SeaweedFS (a real server)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpr_pipeline.storage import Store, open_store
from tests.conftest import new_bucket
from tests.storage.seaweed import SeaweedServer


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A running SeaweedFS server, for tests that do not kill it."""
    server = SeaweedServer(tmp_path_factory.mktemp("seaweed"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["moto", pytest.param("seaweedfs", marks=pytest.mark.slow)])
def s3_bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty bucket of each server; the environment points boto3 at it."""
    return new_bucket(_address(request), monkeypatch, tmp_path)


@pytest.fixture(params=["local", "moto", pytest.param("seaweedfs", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """An empty store of each sort."""
    if request.param == "local":
        return open_store(tmp_path / "out")
    return open_store(f"s3://{new_bucket(_address(request), monkeypatch, tmp_path)}/some/prefix")


def _address(request: pytest.FixtureRequest) -> str:
    if request.param == "moto":
        return request.getfixturevalue("s3_server")
    return request.getfixturevalue("seaweed").address
