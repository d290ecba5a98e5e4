"""An object store that fails, lies about success, is slow, or is killed: the contract holds, and no answer is wrong."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage import Journal, lease, open_store, s3_errors
from mmpr_pipeline.storage import s3 as s3_module
from mmpr_pipeline.storage.s3 import S3Store
from tests.conftest import new_bucket
from tests.storage.faulty_proxy import KINDS, FaultyProxy
from tests.storage.seaweed import SeaweedServer

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return new_bucket(seaweed.address, monkeypatch, tmp_path)


def through(proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A store that reaches its server only through the proxy, and has reached it before."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    store = open_store(url, known=True)
    assert isinstance(store, S3Store)
    return store


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_the_contract_holds_though_one_request_in_four_fails(
    seed: int, bucket: str, seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    direct = open_store(f"s3://{bucket}/out")
    direct.write("taken", b"another's")
    shares = {**dict.fromkeys(KINDS, 0.25 / len(KINDS)), "damage": 0.25}  # only reads can be damaged, and they are few
    with FaultyProxy(seaweed.address, seed, shares) as proxy:
        store = through(proxy, f"s3://{bucket}/out", monkeypatch)
        big = bytes(range(256)) * (70 << 10)  # two parts

        def work(i: int) -> None:
            content = b"%d" % i * 1000
            assert store.create(f"c/{i}", content), "a lost answer must not make our own object another's"
            assert not store.create(f"c/{i}", b"other")
            assert not store.create("taken", content)
            assert store.read(f"c/{i}") == content
            store.write(f"w/{i}", content)
            assert store.size(f"w/{i}") == len(content)
            store.delete(f"w/{i}")
            if i % 8 == 0:
                (tmp_path / f"{i}").write_bytes(big)
                store.put_file(f"f/{i}", tmp_path / f"{i}")
                assert store.fetch(f"f/{i}", tmp_path).read_bytes() == big

        count = 0
        with ThreadPoolExecutor(12) as pool:
            while count < 240 and not all(proxy.faults[kind] for kind in KINDS):
                list(pool.map(work, range(count, count + 24)))
                count += 24
        for kind in KINDS:
            assert proxy.faults[kind], f"no request met {kind}: {proxy.faults} of {proxy.requests}"
    expected = sorted(["taken", *(f"c/{i}" for i in range(count)), *(f"f/{i}" for i in range(0, count, 8))])
    assert direct.list() == expected
    assert direct.read("taken") == b"another's"


@pytest.mark.parametrize("fault", ["lost", "cut"])
def test_a_lost_answer_to_every_other_put_makes_no_foreign_object(
    fault: str, bucket: str, seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "REQUEST_ATTEMPTS", 1)  # so that it is our own patience that misses it
    monkeypatch.setattr(s3_errors, "LONGEST_WAIT", 0.5)
    with FaultyProxy(seaweed.address, 3, {fault: 0.5}) as proxy:
        store = through(proxy, f"s3://{bucket}/out", monkeypatch)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda i: store.create(f"k/{i}", b"%d" % i), range(24)))
        assert made == [True] * 24
        assert proxy.faults[fault] > 4


def test_a_lease_and_a_journal_keep_through_faults(
    bucket: str, seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.1)
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(s3_errors, "LONGEST_WAIT", 0.5)
    with FaultyProxy(seaweed.address, 4, dict.fromkeys(KINDS, 0.2 / len(KINDS))) as proxy:
        store = through(proxy, f"s3://{bucket}/out", monkeypatch)
        with store.lease() as check, Journal(store, "j").open() as writer:
            until = time.monotonic() + 4
            count = 0
            while time.monotonic() < until:
                writer.append({"i": count})
                writer.flush()
                count += 1
                check()
        assert sum(proxy.faults.values()) > 5
        assert [r["i"] for r in Journal(store, "j").read()] == list(range(count)), (
            "no line is lost, none is twice there"
        )


def test_a_server_that_is_killed_and_comes_back_costs_only_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = SeaweedServer(tmp_path / "server")
    try:
        server.start()
        bucket = new_bucket(server.address, monkeypatch, tmp_path)
        store = open_store(f"s3://{bucket}/out")
        store.write("k", b"before")
        server.kill()
        back = threading.Thread(target=lambda: (time.sleep(1), server.start()))
        back.start()
        assert store.create("m", b"made while it was away")
        assert store.read("k") == b"before"
        back.join()
        server.kill()
        monkeypatch.setenv("MMPR_STORE_PATIENCE", "1")
        with pytest.raises(StoreError, match=r"AWS_ENDPOINT_URL(.|\n)*goes on"):
            store.read("k")
        monkeypatch.setenv("MMPR_STORE_PATIENCE", "60")
        server.start()
        assert store.read("m") == b"made while it was away"
    finally:
        server.kill()


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan"])
def test_patience_must_be_seconds(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPR_STORE_PATIENCE", value)
    with pytest.raises(StoreError, match="Give a number"):
        open_store("s3://bucket/out", known=True)
