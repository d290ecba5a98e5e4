"""Fixtures for all tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

# What a user has set for other work must not decide what tests see; libraries read much of it when they are imported.
_OF_THE_USER = ("HF_", "HUGGING", "TRANSFORMERS_", "OPENAI_", "AWS_", "RAY_A", "VLLM_", "MMPR_STORE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
for _name in list(os.environ):
    if (_name.startswith(_OF_THE_USER) and _name != "HF_HOME") or _name.lower() in _PROXIES:
        del os.environ[_name]

import mmpr_pipeline  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[1]
assert Path(mmpr_pipeline.__file__).resolve().parents[1] == CHECKOUT, (
    f"These tests would test {mmpr_pipeline.__file__}. Run them with PYTHONPATH={CHECKOUT}."
)
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real questions, images and answers beside the checkout; tests that need them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared data beside the checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server that runs in this process."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty bucket; the environment points boto3 at it."""
    return new_bucket(s3_server, monkeypatch, tmp_path)


def new_bucket(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Make an empty bucket on this server, and point boto3's environment at it."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MMPR_STORE_PATIENCE", "60")
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
    return bucket
