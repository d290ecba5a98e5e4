"""What a journal returned for is there after any kill; what is torn is skipped and counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.storage import Journal, Store, open_store
from mmpr_pipeline.storage import journal as module


def until(holds: Callable[[], bool]) -> None:
    """Wait for it, for 20 seconds."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "waited for 20 seconds"
        time.sleep(0.02)


def test_attempts_are_read_in_order(store: Store) -> None:
    journal = Journal(store, "journal/00000-of-00002")
    assert list(journal.read()) == []
    for attempt in range(3):
        with journal.open() as writer:
            for i in range(4):
                writer.append({"attempt": attempt, "i": i, "text": "Zeile\n二 \u2028 \x85 end"})
    found = list(journal.read())
    assert [(r["attempt"], r["i"]) for r in found] == [(a, i) for a in range(3) for i in range(4)]
    assert {r["text"] for r in found} == {"Zeile\n二 \u2028 \x85 end"}
    assert journal.torn == 0


def test_delete_forgets_only_this_journal(store: Store) -> None:
    one, other = Journal(store, "journal/1"), Journal(store, "journal/10")
    for journal in (one, other):
        with journal.open() as writer:
            writer.append({"a": 1})
    one.open().forget()
    assert list(one.read()) == []
    assert list(other.read()) == [{"a": 1}]


def test_an_abandoned_attempt_forces_nothing_to_disk_and_can_be_closed_and_deleted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(store, "j")
    writer = journal.open()
    writer.append({"a": 1})
    forced: list[int] = []
    monkeypatch.setattr(os, "fsync", forced.append)
    writer.forget()
    writer.close()
    assert not forced
    assert not store.list("j/")


def test_a_journal_that_is_deleted_while_it_is_read_ends(store: Store) -> None:
    journal = Journal(store, "j")
    for attempt in range(3):
        with journal.open() as writer:
            writer.append({"attempt": attempt})
    reading = journal.read()
    assert next(reading) == {"attempt": 0}
    writer.forget()
    assert list(reading) == []


def test_writers_at_once_have_their_own_segments(store: Store) -> None:
    journal = Journal(store, "j")
    first, second = journal.open(), journal.open()
    first.append({"writer": 1})
    second.append({"writer": 2})
    second.close()
    first.close()
    assert sorted(r["writer"] for r in journal.read()) == [1, 2]


def test_models_and_lone_surrogates_are_kept(store: Store) -> None:
    rollout = Rollout(
        question_id="q", round=0, index=0, seed=1, text="bad \ud800 end", tokens=1, finish_reason="stop", model="m",
        prompt_version="p@1",
    )  # fmt: skip
    journal = Journal(store, "j")
    with journal.open() as writer:
        writer.append({"rollouts": [rollout.model_copy(update={"text": "plain"}), rollout]})
    (record,) = journal.read()
    assert [Rollout.model_validate(r).text for r in record["rollouts"]] == ["plain", "bad \ud800 end"]


@pytest.mark.parametrize("tail", [b'{"i": 2, "te', b'{"i": 2}', b"\0" * 64, b"\xff\xfe\n", b"[1]\n"])
def test_a_torn_last_line_is_skipped_and_counted(tmp_path: Path, tail: bytes) -> None:
    store = open_store(tmp_path)
    journal = Journal(store, "j")
    with journal.open() as writer:
        writer.append({"i": 0})
        writer.append({"i": 1})
    (segment,) = (tmp_path / "j").iterdir()
    segment.write_bytes(segment.read_bytes() + tail)
    with journal.open() as writer:  # the next attempt goes on in a segment of its own
        writer.append({"i": 3})
    assert [r["i"] for r in journal.read()] == [0, 1, 3]
    assert journal.torn == 1


def test_a_killed_process_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    code = (
        "import sys; from mmpr_pipeline.storage import Journal, open_store\n"
        "writer = Journal(open_store(sys.argv[1]), 'j').open()\n"
        "for i in range(10**9):\n"
        "    writer.append({'i': i, 'text': 'x' * 5000}); print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(200):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    said = 199 + sum(line.endswith("\n") for line in process.stdout.readlines())
    process.wait()
    found = [r["i"] for r in Journal(open_store(tmp_path), "j").read()]
    assert found == list(range(len(found)))
    assert len(found) >= said + 1


def test_a_full_disk_tears_no_later_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(open_store(tmp_path), "j")
    writer = journal.open()
    writer.append({"i": 0})
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 10:
            return real(handle, data[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left"):
            writer.append({"i": 1, "x": "0123456"})
    writer.append({"i": 2})
    writer.close()
    assert [r["i"] for r in journal.read()] == [0, 2]
    assert journal.torn == 0


def test_a_disk_that_cannot_keep_what_it_took_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Journal(open_store(tmp_path), "j").open()
    writer.append({"i": 0})

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="Free some space"):
            writer.close()
    writer.close()  # it is closed already


def test_objects_are_put_by_size(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_SECONDS", 1e6)
    monkeypatch.setattr(module, "SEGMENT_BYTES", 50)
    store = open_store(f"s3://{s3_bucket}/out")
    journal = Journal(store, "j")
    with journal.open() as writer:
        writer.append({"i": 0})
        assert list(journal.read()) == []
        writer.append({"text": "x" * 60})
        until(lambda: len(list(journal.read())) == 2)
        writer.append({"i": 2})
    assert len(list(journal.read())) == 3
    assert len(store.list("j/")) == 2


def test_objects_are_put_by_time_though_nothing_follows(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_SECONDS", 0.1)
    journal = Journal(open_store(f"s3://{s3_bucket}/out"), "j")
    writer = journal.open()
    writer.append({"i": 0})
    until(lambda: [r["i"] for r in journal.read()] == [0])
    writer.close()


def test_a_store_that_is_too_slow_is_waited_for_when_much_is_buffered(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_SECONDS", 1e6)
    monkeypatch.setattr(module, "MOST_BUFFERED_BYTES", 100)
    journal = Journal(open_store(f"s3://{s3_bucket}/out"), "j")
    writer = journal.open()
    writer.append({"text": "x" * 100})
    assert len(list(journal.read())) == 1, "it was put before append returned"
    writer.close()


def test_a_writer_that_lost_lines_takes_no_more(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"s3://{s3_bucket}/out")
    monkeypatch.setattr(module, "SEGMENT_SECONDS", 0.01)
    writer = Journal(store, "j").open()

    def fails(key: str, data: bytes) -> bool:
        raise StoreError("away")

    monkeypatch.setattr(store, "create", fails)
    writer.append({"i": 0})

    def refused() -> bool:
        try:
            writer.append({"i": 1})
        except StoreError:
            return True
        return False

    until(refused)
    with pytest.raises(StoreError, match="away"):
        writer.close()


def test_any_flipped_bit_of_a_line_is_found(tmp_path: Path) -> None:
    journal = Journal(open_store(tmp_path), "j", plan="a" * 32)
    with journal.open() as writer:
        for i in range(3):
            writer.append({"i": i, "text": "x * y"})
    (segment,) = (tmp_path / "j").iterdir()
    whole = segment.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        segment.write_bytes(damaged)
        found = list(journal.read())
        assert 1 <= len(found) < 3
        assert all(record["text"] == "x * y" for record in found)
        assert journal.torn


def test_lines_of_another_plan_are_not_taken(store: Store) -> None:
    with Journal(store, "j", plan="a" * 32).open() as writer:
        writer.append({"i": 0})
    other = Journal(store, "j", plan="b" * 32)
    assert list(other.read()) == []
    assert other.torn == 1


def test_lines_of_versions_without_checksums_are_taken(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "000000-000000.jsonl").write_bytes(b'{"i":0}\n{"i":"\\ud800"}\n{"i":')
    journal = Journal(open_store(tmp_path), "j", plan="a" * 32)
    assert [record["i"] for record in journal.read()] == [0, "\ud800"]
    assert journal.torn == 1


def test_a_stranger_among_the_segments_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "notes.txt").write_text("mine")
    journal = Journal(open_store(tmp_path), "j")
    with journal.open() as writer:
        writer.append({"i": 0})
    assert list(journal.read()) == [{"i": 0}]


def test_a_writer_that_wakes_up_after_the_end_leaves_nothing_and_stops(s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}/out")
    writer = Journal(store, "j/0", done="manifests/0.json").open()
    writer.append({"i": 0})
    writer.flush()
    store.write("manifests/0.json", b"{}")  # another process, while this one is paused
    store.delete_prefix("j/")
    writer.append({"i": 1})
    with pytest.raises(StoreError, match="finished by another process"):
        writer.flush()
    assert store.list("j/") == []
    with pytest.raises(StoreError, match="finished by another process"):
        writer.append({"i": 2})
