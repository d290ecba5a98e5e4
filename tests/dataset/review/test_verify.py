"""Every kind of damage is found by its name; what is whole has no problem."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import json_bytes, sealed, sha256_of
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.sealed import hashes
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.dataset.review.terminal import verify_page
from mmpr_pipeline.dataset.review.verify import Report, verify
from mmpr_pipeline.screening import DROPPED, REPORT, STATUS
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_dataset, write_shard

Rows = list[dict[str, Any]]


def names(out: Path) -> set[str]:
    return {problem.name for problem in verify(out).problems}


def page(report: Report) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(verify_page(report))
    return capture.get()


def rewrite(out: Path, kind: str, change: Callable[[Rows], Rows], shard: int = 1) -> None:
    """Change the rows of one file and its entry in the manifest, so that only the rows themselves tell."""
    path = out / layout.shard_key(kind, shard, 3)
    with pa.memory_map(str(path)) as source:
        rows = change(pa.ipc.open_file(source).read_all().to_pylist())
    path.unlink()
    write_rows(path, rows, layout.SCHEMAS[kind])
    restate(out, kind, rows=len(rows), shard=shard)


def write_rows(path: Path, rows: Rows, schema: pa.Schema) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def restate(out: Path, kind: str, rows: int, shard: int = 1) -> None:
    path, manifest = out / layout.shard_key(kind, shard, 3), out / layout.shard_key("manifest", shard, 3)
    stated = json.loads(manifest.read_text())
    for entry in stated["files"]:
        if entry["path"] == layout.shard_key(kind, shard, 3):
            entry.update(sha256=sha256_of(path), bytes=path.stat().st_size, rows=rows)
    manifest.write_bytes(json_bytes(stated))
    (out / layout.SUMMARY).write_bytes(json_bytes(summarise(open_store(out), 3)))


def edit(position: int, **fields: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [row | fields if i == position else row for i, row in enumerate(rows)]


def edit_manifest(out: Path, change: Callable[[dict[str, Any]], Any], shard: int = 1) -> None:
    path = out / layout.shard_key("manifest", shard, 3)
    stated = json.loads(path.read_text())
    change(stated)
    path.write_bytes(json_bytes(stated))


def test_a_whole_dataset_has_no_problem(out: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(out, lambda done, of: seen.append((done, of)))
    assert report.problems == []
    assert report.ok
    assert (report.shards, report.files, report.pairs) == (3, 12, 40)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert "All is as promised" in page(report)


def test_a_dataset_of_empty_shards_has_no_problem(tmp_path: Path) -> None:
    write_dataset(tmp_path, questions=1, shards=3)
    assert names(tmp_path) == set()


def test_a_flipped_bit(out: Path) -> None:
    for kind in layout.SCHEMAS:
        path = out / layout.shard_key(kind, 0, 3)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    found = [p.where for p in verify(out).problems if p.name == "bad_hash"]
    assert found == sorted(layout.shard_key(kind, 0, 3) for kind in layout.SCHEMAS)


def test_a_truncated_file(out: Path) -> None:
    path = out / layout.shard_key("pairs", 1, 3)
    os.truncate(path, path.stat().st_size // 2)
    report = verify(out)
    assert {p.name for p in report.problems} == {"bad_hash"}
    assert "pairs-00001-of-00003.arrow" in page(report)
    assert "What to do: Bring damaged files back" in page(report)


def test_files_that_are_missing_or_too_many(out: Path) -> None:
    (out / layout.shard_key("images", 2, 3)).unlink()
    (out / "pairs" / "pairs-00003-of-00004.arrow").write_bytes(b"")
    (out / "notes.txt").write_text("mine")
    found = {(p.name, p.where) for p in verify(out).problems}
    assert found == {
        ("missing_file", "images/images-00002-of-00003.arrow"),
        ("extra_file", "pairs/pairs-00003-of-00004.arrow"),
        ("extra_file", "notes.txt"),
    }


def test_what_training_keeps_beside_the_shards_is_no_problem(out: Path) -> None:
    (out / "reference" / "0123456789abcdef").mkdir(parents=True)
    (out / "reference" / "0123456789abcdef" / "reference-00000-of-00003.arrow").write_bytes(b"")
    assert verify(out).ok


def test_an_unfinished_dataset(out: Path) -> None:
    (out / layout.shard_key("manifest", 2, 3)).unlink()
    (out / layout.SUMMARY).unlink()
    (out / layout.shard_key("journal", 2, 3)).mkdir(parents=True)
    (out / layout.shard_key("journal", 2, 3) / "000000-000000.jsonl").write_text("{}\n")
    assert [p.name for p in verify(out).problems] == ["unfinished"] * 3


def test_the_page_says_of_an_unfinished_dataset_what_it_is_and_what_to_do(out: Path) -> None:
    (out / layout.SUMMARY).unlink()
    for kind in layout.SCHEMAS:
        (out / layout.shard_key(kind, 2, 3)).unlink()
    (out / layout.shard_key("manifest", 2, 3)).unlink()
    text = page(verify(out))
    assert "Not finished: 2 of 3 shards are there." in text
    assert "What is there is as promised: 8 files" in text
    assert "run the same `mmpr build` again: it goes on" in text
    assert len(text.splitlines()) == 3, "shards that are to come are no problems"
    with open_store(out).lease():
        running = page(verify(out))
    assert "mmpr top" in running
    assert "run the same" not in running, "a second driver is advised"
    (out / layout.shard_key("images", 1, 3)).unlink()
    damaged = page(verify(out))
    assert "Not finished: 2 of 3" in damaged
    assert "1 problem (1 missing_file)" in damaged


def test_where_no_dataset_is_the_error_says_what_is_there(out: Path) -> None:
    with pytest.raises(DatasetError, match=f"There is nothing at .*; did you mean {out.name}"):
        verify(f"{out}s")
    (out.parent / "else").mkdir()
    (out.parent / "else" / "notes.txt").write_text("none")
    with pytest.raises(DatasetError, match="is no output of `mmpr build`"):
        verify(out.parent / "else")
    for manifest in (out / "manifests").iterdir():
        manifest.unlink()
    with pytest.raises(DatasetError, match="no finished shard: its build was stopped before"):
        verify(out)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"shard": 1}', b"\xff"])
def test_a_manifest_that_is_none(out: Path, content: bytes) -> None:
    (out / layout.shard_key("manifest", 1, 3)).write_bytes(content)
    assert "bad_manifest" in names(out)


def test_manifests_that_lie(out: Path) -> None:
    edit_manifest(out, lambda m: m.update(shard=2), shard=0)
    edit_manifest(out, lambda m: m["files"].pop(), shard=1)
    edit_manifest(out, lambda m: m["files"][0].update(path="../../etc/passwd"), shard=2)
    assert [p.name for p in verify(out).problems] == ["bad_manifest"] * 3


def test_a_lost_question(out: Path) -> None:
    edit_manifest(out, lambda m: m["counts"].update(questions=99))
    assert names(out) == {"lost_questions", "bad_counts", "bad_summary"}


@pytest.mark.parametrize("name", ["pairs", "rollouts", "unpaired", "rejected"])
def test_counts_by_source_are_compared(out: Path, name: str) -> None:
    edit_manifest(out, lambda m: m["sources"]["bars"][name].update(more=1))
    assert "bad_counts" in names(out)


def test_shards_of_another_build(out: Path) -> None:
    edit_manifest(out, lambda m: m.update(identity="f" * 32), shard=2)
    assert names(out) == {"other_identity"}


def test_settings_of_another_build(out: Path) -> None:
    (out / layout.CONFIG).write_text('{"digest": "other", "identity": {}}')
    assert names(out) == {"other_identity"}
    (out / layout.CONFIG).write_text("[]")
    assert names(out) == {"bad_config"}


def test_a_summary_of_something_else(out: Path) -> None:
    (out / layout.SUMMARY).write_text('{"shards": 3}')
    assert names(out) == {"bad_summary"}
    (out / layout.SUMMARY).write_text("no JSON")
    assert names(out) == {"bad_summary"}


def test_other_columns(out: Path) -> None:
    path = out / layout.shard_key("pairs", 1, 3)
    write_rows(path, [], pa.schema([("pair_id", pa.string())]))
    restate(out, "pairs", rows=0)
    assert names(out) == {"bad_schema"}


def test_other_descriptions_of_the_same_columns_are_no_problem(out: Path) -> None:
    path = out / layout.shard_key("images", 1, 3)
    with pa.memory_map(str(path)) as source:
        rows = pa.ipc.open_file(source).read_all().to_pylist()
    path.unlink()
    write_rows(path, rows, layout.SCHEMAS["images"].remove_metadata())
    restate(out, "images", rows=len(rows))
    assert names(out) == set()


def test_a_column_that_may_be_null_where_none_is_promised(out: Path) -> None:
    path = out / layout.shard_key("images", 1, 3)
    with pa.memory_map(str(path)) as source:
        rows = pa.ipc.open_file(source).read_all().to_pylist()
    path.unlink()
    write_rows(path, rows, pa.schema([field.with_nullable(not field.nullable) for field in layout.SCHEMAS["images"]]))
    restate(out, "images", rows=len(rows))
    assert names(out) == {"bad_schema"}


def test_a_file_whose_hash_is_wrong_is_not_parsed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = pa.ipc.open_file
    monkeypatch.setattr(pa.ipc, "open_file", lambda *args, **named: parsed.append("") or real(*args, **named))
    for shard in range(3):
        for kind in layout.SCHEMAS:
            path = out / layout.shard_key(kind, shard, 3)
            raw = bytearray(path.read_bytes())
            raw[-30] ^= 4
            path.write_bytes(raw)
    assert [p.name for p in verify(out).problems] == ["bad_hash"] * 12
    assert parsed == []


def test_what_killed_workers_left_is_named(out: Path) -> None:
    (out / ".unfinished-abc").mkdir()
    (out / ".unfinished-abc" / "pairs").write_bytes(b"half")
    (out / "pairs" / ".unfinished-0123").write_bytes(b"half")
    found = {(p.name, p.where) for p in verify(out).problems}
    assert found == {("left_over", ".unfinished-abc"), ("left_over", "pairs/.unfinished-0123")}
    open_store(out).sweep()
    assert verify(out).ok


def seal(out: Path, **more: Any) -> dict[str, bytes]:
    """Settings, screening and summary as builds leave them; every file that they seal."""
    store = open_store(out)
    config, status = json.loads(store.read(layout.CONFIG)), b"a table"
    store.write(layout.CONFIG, sealed({**config, "sources": []}))
    store.write(STATUS, status)
    store.write(DROPPED, b"another table")
    hashes_of = {key: hashlib.sha256(store.read(key)).hexdigest() for key in (STATUS, DROPPED)}
    store.write(REPORT, sealed({"plan": config["digest"], "sources": {}, "hashes": hashes_of, **more}))
    store.write(layout.SUMMARY, sealed({**summarise(store, 3), "hashes": hashes(store)}))
    return {key: store.read(key) for key in (layout.CONFIG, layout.SUMMARY, *layout.SCREENED)}


def test_any_flipped_bit_of_settings_summary_and_screening_is_found(out: Path) -> None:
    sealed_files = seal(out)
    assert verify(out).problems == []
    draw = random.Random(7)
    for key, raw in sealed_files.items():
        for _ in range(16):
            bit = draw.randrange(8 * len(raw))
            damaged = bytearray(raw)
            damaged[bit // 8] ^= 1 << bit % 8
            (out / key).write_bytes(damaged)
            assert key in {problem.where for problem in verify(out).problems}, (key, bit)
        for damage in (raw[:-5], b"", raw[: len(raw) // 2], b"{}", bytes(len(raw)), b"[" * 100_000):
            (out / key).write_bytes(damage)
            assert key in {problem.where for problem in verify(out).problems}, (key, damage[:9])
        (out / key).unlink()
        assert key in {problem.where for problem in verify(out).problems}
        (out / key).write_bytes(raw)
    assert verify(out).problems == []


def test_files_of_another_output_are_found(out: Path, tmp_path: Path) -> None:
    mine = seal(out)
    write_dataset(tmp_path / "other")
    theirs = seal(tmp_path / "other", unchecked={"bench": "away"})
    for key in mine:
        (out / key).write_bytes(theirs[key])
    assert verify(out).problems == [], "all of them together are those of a build with these settings"
    for key in (REPORT, layout.SUMMARY):
        (out / key).write_bytes(mine[key])
        assert verify(out).problems, key
        (out / key).write_bytes(theirs[key])


def test_outputs_of_versions_without_checksums_are_sound(out: Path) -> None:
    store = open_store(out)
    store.write(REPORT, json_bytes({"against": {}, "unchecked": {}, "sources": {}}))
    store.write(STATUS, b"a table")
    assert verify(out).problems == []


def test_a_missing_image(out: Path) -> None:
    rewrite(out, "images", lambda rows: rows[1:])
    report = verify(out)
    assert {p.name for p in report.problems} == {"missing_image", "bad_counts"}
    assert {p.detail.split()[3] for p in report.problems if p.name == "missing_image"} == {"question", "pair"}


def test_an_image_under_another_name(out: Path) -> None:
    rewrite(out, "images", lambda rows: [rows[0] | {"data": rows[1]["data"]}, *rows[1:]])
    assert names(out) == {"bad_image"}


def test_an_image_stored_twice(out: Path) -> None:
    rewrite(out, "images", lambda rows: [*rows, rows[0]])
    assert "duplicate_image" in names(out)


def test_a_pair_of_no_question(out: Path) -> None:
    rewrite(out, "pairs", edit(0, question_id="f" * 32))
    assert {"missing_question", "missing_rollout", "bad_counts"} <= names(out)


def test_a_pair_of_an_unpaired_question(out: Path) -> None:
    def unpair(rows: Rows) -> Rows:
        first = next(i for i, row in enumerate(rows) if row["status"] == "paired")
        return edit(first, status="unpaired", reason="x")(rows)

    rewrite(out, "questions", unpair)
    assert {"missing_question", "bad_counts"} <= names(out)


def test_a_pair_twice(out: Path) -> None:
    rewrite(out, "pairs", lambda rows: [rows[0], *rows])
    assert {"duplicate_pair", "bad_counts"} <= names(out)


def test_a_pair_in_two_shards(tmp_path: Path) -> None:
    store = write_dataset(tmp_path / "out")
    for key in store.list("manifests/00001"):
        store.delete(key)
    write_shard(store, 1, 3, [make_outcome(n, "bars" if n % 3 else "grids") for n in (0, 1, 4)])
    store.write(layout.SUMMARY, json_bytes(summarise(store, 3)))
    report = verify(tmp_path / "out")
    assert {p.name for p in report.problems} == {"duplicate_pair"}
    assert all("is in shard 0 too" in p.detail for p in report.problems)


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_response_that_is_not_its_rollout(out: Path, side: str) -> None:
    rewrite(out, "pairs", edit(0, **{side: "something else"}))
    assert names(out) == {"bad_response"}
    rewrite(out, "pairs", edit(0, **{f"{side}_index": 77}))
    assert names(out) == {"missing_rollout"}


def test_a_question_twice(out: Path) -> None:
    rewrite(out, "questions", lambda rows: [*rows, next(r for r in rows if r["status"] == "paired")])
    assert {"duplicate_question", "bad_counts"} <= names(out)


def test_rollouts_that_are_lost_or_repeated(out: Path) -> None:
    def drop(rows: Rows) -> Rows:
        return [row for row in rows if row["outcome"] != "unparseable"]

    rewrite(out, "rollouts", drop)
    assert names(out) == {"bad_counts"}
    write_dataset(out.parent / "again")
    rewrite(out.parent / "again", "rollouts", lambda rows: [rows[0], *rows])
    assert {"duplicate_rollout", "bad_counts"} <= names(out.parent / "again")


def test_many_problems_of_one_kind_are_counted(out: Path) -> None:
    rewrite(out, "pairs", lambda rows: [row | {"chosen": "x"} for row in rows])
    found = [p for p in verify(out).problems if p.name == "bad_response"]
    assert len(found) == 6
    assert "more like it" in found[-1].detail


def test_hostile_names_do_not_steer_the_page(out: Path) -> None:
    (out / "[bold]x[red].txt").write_text("")
    assert "[bold]x[red].txt" in page(verify(out))


def test_a_dataset_in_a_bucket(s3_bucket: str) -> None:
    store = write_dataset(f"s3://{s3_bucket}/out", questions=12)
    assert verify(store.url).problems == []
    store.write(layout.shard_key("pairs", 0, 3), b"damaged")
    assert {p.name for p in verify(store.url).problems} == {"bad_hash"}
