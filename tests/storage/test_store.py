"""One contract, kept by every store."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.storage import MissingKeyError, Store, absolute_url, open_store
from mmpr_pipeline.storage import local as local_module
from mmpr_pipeline.storage.local import UNFINISHED, LocalStore
from mmpr_pipeline.storage.s3 import S3Store


def test_write_read_replace(store: Store) -> None:
    assert not store.exists("a/b.bin")
    store.write("a/b.bin", b"one")
    store.write("a/b.bin", b"three")
    assert store.read("a/b.bin") == b"three"
    assert store.size("a/b.bin") == 5
    assert store.exists("a/b.bin")
    assert not store.exists("a")


def test_missing_keys_have_their_own_error(store: Store, tmp_path: Path) -> None:
    for ask in (store.read, store.size, store.local_copy, lambda key: store.fetch(key, tmp_path)):
        with pytest.raises(MissingKeyError):
            ask("not/there")
    store.delete("not/there")


def test_create_is_write_once(store: Store) -> None:
    assert store.create("m/x.json", b"first")
    assert not store.create("m/x.json", b"second")
    assert store.read("m/x.json") == b"first"


def test_of_many_creators_exactly_one_wins(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: store.create("m/race", b"%d" % i * 1000), range(16)))
    assert won.count(True) == 1
    assert store.read("m/race") == b"%d" % won.index(True) * 1000


def test_list_is_sorted_and_by_string_prefix(store: Store) -> None:
    assert store.list() == []
    for key in ("b/2", "b/10", "a", "b2/1", "c/d/e"):
        store.write(key, b"")
    assert store.list() == ["a", "b/10", "b/2", "b2/1", "c/d/e"]
    assert store.list("b") == ["b/10", "b/2", "b2/1"]
    assert store.list("b/") == ["b/10", "b/2"]
    assert store.list("b/1") == ["b/10"]
    assert store.list("nothing/") == []


def test_delete_prefix(store: Store) -> None:
    for key in ("j/1/a", "j/1/b", "j/10/a"):
        store.write(key, b"x")
    store.delete_prefix("j/1/")
    assert store.list() == ["j/10/a"]


def test_put_file_and_local_copy(store: Store) -> None:
    content = os.urandom(20 << 20)  # above one part of a multipart upload
    with store.workspace() as folder:
        (folder / "big").write_bytes(content)
        store.put_file("files/big.bin", folder / "big")
        assert store.list() == ["files/big.bin"], "unfinished files must not be listed"
    assert not folder.exists()
    assert store.local_copy("files/big.bin").read_bytes() == content
    store.write("files/big.bin", b"new")
    assert store.local_copy("files/big.bin").read_bytes() == b"new"
    with store.workspace() as folder:
        assert store.fetch("files/big.bin", folder).read_bytes() == b"new"


def test_a_store_travels_between_processes(store: Store) -> None:
    store.write("k", b"v")
    assert pickle.loads(pickle.dumps(store)).read("k") == b"v"


@pytest.mark.parametrize("key", ["", "/abs", "a//b", "../up", "a/../../b", "a/", "a\\b", "nul\0"])
def test_keys_cannot_leave_the_store(store: Store, key: str) -> None:
    with pytest.raises(StoreError):
        store.write(key, b"")


def test_check_writable_leaves_nothing(store: Store) -> None:
    store.check_writable()
    assert store.list() == []


def test_sweep_keeps_finished_content(store: Store) -> None:
    store.write("a/b", b"x")
    store.sweep()
    assert store.list() == ["a/b"]


def test_sweep_removes_what_killed_writers_left(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/b", b"x")
    (tmp_path / "a" / f"{UNFINISHED}1").write_bytes(b"half")
    (tmp_path / f"{UNFINISHED}2").mkdir()
    (tmp_path / f"{UNFINISHED}2" / "pairs.arrow").write_bytes(b"half")
    assert store.list() == ["a/b"]
    store.sweep()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b"]


def test_create_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(local_module.os, "link", refuse)
    store = LocalStore(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: store.create("k", b"%d" % i), range(8))).count(True) == 1
    assert store.list() == ["k"]


def test_put_file_from_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.replace, []

    def replace(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 1:
            raise OSError(18, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(local_module.os, "replace", replace)
    (tmp_path / "elsewhere").write_bytes(b"content")
    store = LocalStore(tmp_path / "out")
    store.put_file("k", tmp_path / "elsewhere")
    assert store.read("k") == b"content"
    assert len(calls) == 2


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        LocalStore(tmp_path).write("k", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o640


def test_an_output_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give a directory"):
        open_store(tmp_path / "file" / "out").check_writable()


def test_an_unwritable_output_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # tests may run as root, whom no mode stops
    with pytest.raises(StoreError, match="may write to"):
        open_store(tmp_path / "out").check_writable()


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = local_module.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(local_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match="Free some space"):
        open_store(tmp_path / "out").check_writable()


def test_a_disk_that_fills_up_under_somebodys_own_files_is_explained(store: Store) -> None:
    with pytest.raises(StoreError, match=r"No space left on device(.|\n)*goes on"), store.workspace() as folder:
        raise OSError(28, "Error writing bytes to file")
    assert not folder.exists()
    with pytest.raises(PermissionError), store.workspace():
        raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("url", ["", "http://host/x", "gs://bucket/x", "s3://"])
def test_what_is_no_output_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="s3://bucket/prefix"):
        open_store(url)


def test_no_such_bucket(s3_bucket: str) -> None:
    with pytest.raises(StoreError, match="Create the bucket"):
        open_store("s3://there-is-no-such-bucket/x").check_writable()


def test_no_credentials(s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID"):
        open_store(f"s3://{s3_bucket}/x").check_writable()


def test_no_server(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = open_store(f"s3://{s3_bucket}/x")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
        store.check_writable()


def test_two_prefixes_of_one_bucket_are_apart(s3_bucket: str) -> None:
    one, two = open_store(f"s3://{s3_bucket}/out"), open_store(f"s3://{s3_bucket}/out2")
    two.write("k", b"2")
    assert one.list() == []
    assert open_store(f"s3://{s3_bucket}").list() == ["out2/k"]


class _FaultyClient:
    """Lets every put through to the server, but answers the next ones with the given status and retry count."""

    def __init__(self, client: Any, faults: list[tuple[int, int]], put_first: bool, failing_reads: int = 0) -> None:
        self._client, self._faults, self._put_first = client, faults, put_first
        self._failing_reads = failing_reads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **get: Any) -> Any:
        from botocore.exceptions import IncompleteReadError

        if self._failing_reads:
            self._failing_reads -= 1
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)
        return self._client.get_object(**get)

    def put_object(self, **put: Any) -> Any:
        from botocore.exceptions import ClientError

        if not self._faults:
            return self._client.put_object(**put)
        status, retries = self._faults.pop()
        if self._put_first:
            self._client.put_object(**{k: v for k, v in put.items() if not k.startswith("If")})
        meta = {"HTTPStatusCode": status, "RetryAttempts": retries}
        raise ClientError({"Error": {"Code": str(status)}, "ResponseMetadata": meta}, "PutObject")  # type: ignore[arg-type]


def test_a_create_whose_answer_was_lost_is_still_ours(s3_bucket: str) -> None:
    store = S3Store(f"s3://{s3_bucket}/out")
    real = store.client
    store.client = _FaultyClient(real, [(412, 1)], put_first=True)
    assert store.create("k", b"mine"), "the retry met the object that the first try had put"
    store.client = _FaultyClient(real, [(412, 1)], put_first=False)
    assert not store.create("k", b"another's")
    store.client = _FaultyClient(real, [(412, 0)], put_first=False)
    assert not store.create("k", b"mine")


def test_a_lost_answer_is_not_forgotten_though_the_look_at_its_object_fails_too(s3_bucket: str) -> None:
    store = S3Store(f"s3://{s3_bucket}/out", patience=30)
    store.client = _FaultyClient(store.client, [(412, 1)], put_first=True, failing_reads=1)
    assert store.create("k", b"mine")


def test_a_lost_answer_is_not_forgotten_though_a_conflict_follows(s3_bucket: str) -> None:
    store = S3Store(f"s3://{s3_bucket}/out", patience=30)
    store.client = _FaultyClient(store.client, [(412, 0), (409, 1)], put_first=True)
    assert store.create("k", b"mine"), "the conflict was with our own first try"


def test_creators_at_the_same_moment_try_again(s3_bucket: str) -> None:
    store = S3Store(f"s3://{s3_bucket}/out")
    store.client = _FaultyClient(store.client, [(409, 0), (409, 0)], put_first=False)
    assert store.create("k", b"mine")
    assert store.read("k") == b"mine"


def test_another_status_is_an_error(s3_bucket: str) -> None:
    store = S3Store(f"s3://{s3_bucket}/out")
    store.client = _FaultyClient(store.client, [(403, 0)], put_first=False)
    with pytest.raises(StoreError, match="credentials"):
        store.create("k", b"mine")


def test_a_local_place_is_made_absolute_and_a_url_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute_url("out") == str(tmp_path / "out")
    assert absolute_url("~/out") == "/home/someone/out"
    assert absolute_url("s3://bucket/out") == "s3://bucket/out"
    assert absolute_url(None) is None
