"""Two builds on one output are stopped; a dead one does not stop the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage import Store, lease, open_store
from mmpr_pipeline.storage.lease import seen_alive, seen_dead, this_process
from mmpr_pipeline.storage.s3 import S3Store


def hold(url: str) -> subprocess.Popen[str]:
    """A process that holds the output's lease for a minute."""
    code = (
        "import sys, time; from mmpr_pipeline.storage import open_store\n"
        "with open_store(sys.argv[1]).lease(): print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_holder_is_refused_until_the_first_is_done(store: Store) -> None:
    with store.lease() as check:
        check()
        assert store.list() == [], "the lease is no part of the dataset"
        with pytest.raises(StoreError, match="Another build"), open_store(store.url).lease():
            pass
        store.write("k", b"the refused one must not have released it")
        with pytest.raises(StoreError, match="Another build"), open_store(store.url).lease():
            pass
    with open_store(store.url).lease():
        pass


def test_a_killed_holder_of_a_directory_releases_it(tmp_path: Path) -> None:
    process = hold(str(tmp_path))
    with pytest.raises(StoreError, match=f"process {process.pid}"), open_store(tmp_path).lease():
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with open_store(tmp_path).lease():
        pass


def test_a_holder_on_this_machine_is_seen_alive_and_seen_dead(store: Store) -> None:
    process = hold(store.url)
    with pytest.raises(StoreError, match="Another build"), store.lease():
        pass
    process.kill()  # -9, and not waited for: a zombie is dead
    began = time.monotonic()
    while True:
        try:
            with store.lease():
                break
        except StoreError:
            assert time.monotonic() < began + 10, "a killed process does not die"
    assert time.monotonic() < began + lease.LEASE_SECONDS / 2, "nobody waited for the lease to lapse"
    process.wait()


def test_the_lease_of_a_dead_build_elsewhere_lapses(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 2.0)
    store = open_store(f"s3://{s3_bucket}/out")
    store.write(lease.LOCK_KEY, b'{"owner": "dead"}')
    began = time.monotonic()
    with store.lease():
        assert json.loads(store.read(lease.LOCK_KEY))["owner"] != "dead"
    assert time.monotonic() > began + 0.9, "the server tells time in whole seconds"
    assert not store.exists(lease.LOCK_KEY)


def test_a_build_elsewhere_that_renews_its_lease_is_not_disturbed(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.3)
    monkeypatch.setattr(lease, "this_process", dict)  # as on a machine that tells nothing about its processes
    store = open_store(f"s3://{s3_bucket}/out")
    with store.lease() as check:
        with pytest.raises(StoreError, match="was renewed"), open_store(store.url).lease():
            pass
        check()


def test_a_lease_outlives_an_outage_longer_than_itself(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.1)
    real, away, tried = S3Store.put_if, threading.Event(), []

    def put_if(self: S3Store, *args: Any) -> str | None:
        if away.is_set():
            tried.append(time.monotonic())
            raise StoreError("away")
        return real(self, *args)

    monkeypatch.setattr(S3Store, "put_if", put_if)
    store = open_store(f"s3://{s3_bucket}/out")
    with store.lease() as check:
        away.set()
        _until(lambda: len(tried) > 1 and tried[-1] - tried[0] > 1.0)
        check()
        before = store.read(lease.LOCK_KEY)
        away.clear()
        _until(lambda: store.read(lease.LOCK_KEY) != before)
        check()
        monkeypatch.setenv("MMPR_STORE_PATIENCE", "0.2")
        away.set()
        with pytest.raises(StoreError, match="could not be renewed"):
            _until(lambda: bool(check()))


def test_a_held_lease_of_a_bucket_is_renewed(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.1)
    store = open_store(f"s3://{s3_bucket}/out")
    with store.lease() as check:
        before = store.read(lease.LOCK_KEY)
        _until(lambda: store.read(lease.LOCK_KEY) != before)
        check()


def test_a_renewal_whose_answer_is_lost_does_not_lose_the_lease(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object's new ETag never arrives; who its owner is still stands in it."""
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.05)
    real, done = S3Store.put_if, []

    def put_if(self: S3Store, *args: Any) -> str | None:
        etag = real(self, *args)
        done.append(etag)
        if len(done) == 2:
            raise StoreError("the answer was lost")
        return etag

    monkeypatch.setattr(S3Store, "put_if", put_if)
    store = open_store(f"s3://{s3_bucket}/out")
    with store.lease() as check:
        _until(lambda: len(done) > 5)
        check()
    assert lease.LOCK_KEY not in store.list()


def test_a_lost_lease_is_told(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.1)
    store = open_store(f"s3://{s3_bucket}/out")

    def lost() -> bool:
        try:
            check()
        except StoreError as error:
            return "was lost" in str(error)
        return False

    with store.lease() as check:
        store.write(lease.LOCK_KEY, b'{"owner": "another"}')
        _until(lost)
    assert store.read(lease.LOCK_KEY) == b'{"owner": "another"}'


def test_a_build_that_was_paused_looks_at_its_lease_before_it_goes_on(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 1e6)  # the thread that renews has not woken up yet
    store = open_store(f"s3://{s3_bucket}/out")
    with store.lease() as check:
        time.sleep(0.3)
        check()
        store.write(lease.LOCK_KEY, b'{"owner": "another"}')
        with pytest.raises(StoreError, match="another process took it"):
            check()
    with open_store(f"s3://{s3_bucket}/other").lease() as check:
        time.sleep(0.3)
        open_store(f"s3://{s3_bucket}/other").delete(lease.LOCK_KEY)  # taken, finished and released
        with pytest.raises(StoreError, match="another process took it"):
            check()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "waited for 20 seconds"
        time.sleep(0.02)


tells_its_processes = pytest.mark.skipif(
    not this_process().get("boot"), reason="this machine does not tell its processes"
)


@tells_its_processes
def test_this_process_is_seen_alive() -> None:
    assert seen_alive(this_process())
    assert not seen_dead(this_process())


@tells_its_processes
def test_an_ended_process_is_seen_dead_even_as_a_zombie_or_under_a_number_used_again() -> None:
    code = "import json; from mmpr_pipeline.storage.lease import this_process; print(json.dumps(this_process()))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    holder = json.loads(process.stdout.read())
    process.stdout.close()
    while not seen_dead(holder):  # a zombie by now, or about to be one
        assert process.returncode is None
    process.wait()
    assert seen_dead(holder)
    assert seen_dead({**this_process(), "started": "1"}), "another process has this number now"


@tells_its_processes
@pytest.mark.parametrize(
    "holder",
    [
        None,
        "text",
        {},
        {"pid": 1},
        {**this_process(), "boot": "another machine"},
        {**this_process(), "processes": 1},
        {**this_process(), "pid": "1"},
        {**this_process(), "started": ""},
    ],
)
def test_of_processes_elsewhere_nothing_is_said(holder: object) -> None:
    assert not seen_alive(holder)
    assert not seen_dead(holder)
