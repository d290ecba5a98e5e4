"""Fixtures for all tests."""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

gc.disable()  # until all tests are imported: a third of that time would go into looking through what stays anyway

# How long an example takes says how busy the machine is, not whether the code is right. The same examples each time,
# so that a change is judged by what it changes; `make test-all` looks for others.
untimed = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("explore", untimed)
hypothesis.settings.register_profile("repeat", untimed, derandomize=True)
hypothesis.settings.load_profile("repeat")

# What a user has set for other work must not decide what tests see; libraries read much of it when they are imported.
_OF_THE_USER = ("HF_", "HUGGING", "TRANSFORMERS_", "OPENAI_", "AWS_", "RAY_A", "VLLM_", "MMPR_STORE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
for _name in list(os.environ):
    if (_name.startswith(_OF_THE_USER) and _name != "HF_HOME") or _name.lower() in _PROXIES:
        del os.environ[_name]
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; OpenMP threads of one that wait by spinning take the time of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import mmpr_pipeline  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[1]
assert Path(mmpr_pipeline.__file__).resolve().parents[1] == CHECKOUT, (
    f"These tests would test {mmpr_pipeline.__file__}. Run them with PYTHONPATH={CHECKOUT}."
)
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

_GUARDED = ("RAY_", "HF_", "CUDA_", "MMPR_")
_OF_THE_PROCESS = {"MMPR_LOGS", "MMPR_LOG_LEVEL", "RAY_CLIENT_MODE"}
"""What a command sets for the processes that it starts, and leaves as it ends with its own; the import of Ray too."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where workers share the files, those with slow tests come first: the last one to end is then a short one."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported stays out of the garbage collector's sight until the end."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the interpreter tidy up as always."""
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def _environment_after_a_module() -> Iterator[None]:
    """A module's own fixtures leave the environment as they found it."""
    yield from _unchanged_environment()


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _environment_after_a_test() -> Iterator[None]:
    """A test that sets what decides other tests, and does not put it back, fails; the others see nothing of it."""
    package = logging.getLogger("mmpr_pipeline")
    level = package.level
    yield from _unchanged_environment()
    package.setLevel(level)  # a command that a test runs in this process chooses one; `caplog` would miss warnings


def _unchanged_environment() -> Iterator[None]:
    environment, before = os.environ, _guarded_environment()
    yield
    os.environ = environment  # noqa: B003 - `datasets` puts a copy in its place, where monkeypatch undoes nothing
    after = _guarded_environment()
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    for name in changed:
        os.environ.pop(name, None)
        if name in before:
            os.environ[name] = before[name]
    if left := sorted(changed - _OF_THE_PROCESS):
        pytest.fail(f"left changed in the environment: {', '.join(left)}", pytrace=False)


def _guarded_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_GUARDED)}


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
