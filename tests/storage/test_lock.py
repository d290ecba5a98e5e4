"""Two builds on one output are stopped; a dead one does not stop the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmpr_pipeline.errors import StoreError
from mmpr_pipeline.storage import Store, lease, open_store
from mmpr_pipeline.storage import lock as lock_module


def test_a_second_holder_is_refused_until_the_first_is_done(store: Store) -> None:
    with lease(store) as check:
        check()
        assert store.list() == [], "the lease is no part of the dataset"
        with pytest.raises(StoreError, match="Another build"), lease(open_store(store.url)):
            pass
        store.write("k", b"the refused one must not have released it")
        with pytest.raises(StoreError, match="Another build"), lease(open_store(store.url)):
            pass
    with lease(open_store(store.url)):
        pass


def test_a_killed_holder_of_a_directory_releases_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from mmpr_pipeline.storage import lease, open_store\n"
        "with lease(open_store(sys.argv[1])): print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=f"process {process.pid}"), lease(open_store(tmp_path)):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with lease(open_store(tmp_path)):
        pass


def test_a_lapsed_lease_of_a_bucket_is_taken_over(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"s3://{s3_bucket}/out")
    store.write(lock_module.LOCK_KEY, b'{"owner": "dead"}')
    with pytest.raises(StoreError, match="Another build"), lease(store):
        pass
    time.sleep(1.1)  # the server tells time in whole seconds
    monkeypatch.setattr(lock_module, "LEASE_SECONDS", 1.0)
    with lease(store):
        assert b"dead" not in store.read(lock_module.LOCK_KEY)
    assert not store.exists(lock_module.LOCK_KEY)


def test_a_held_lease_of_a_bucket_is_renewed(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "RENEWAL_SECONDS", 0.1)
    store = open_store(f"s3://{s3_bucket}/out")
    with lease(store) as check:
        before = store.read(lock_module.LOCK_KEY)
        _until(lambda: store.read(lock_module.LOCK_KEY) != before)
        check()


def test_a_lost_lease_is_told(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "RENEWAL_SECONDS", 0.1)
    store = open_store(f"s3://{s3_bucket}/out")

    def lost() -> bool:
        try:
            check()
        except StoreError as error:
            return "was lost" in str(error)
        return False

    with lease(store) as check:
        store.write(lock_module.LOCK_KEY, b'{"owner": "another"}')
        _until(lost)
    assert store.read(lock_module.LOCK_KEY) == b'{"owner": "another"}'


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "waited for 20 seconds"
        time.sleep(0.02)
