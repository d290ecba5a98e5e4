from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.schemas import IMAGE_SCHEMA, PAIR_SCHEMA
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.load import pair_features
from mmpr_pipeline.dataset.files.writer import RecordFile
from mmpr_pipeline.dataset.publish import parquet
from mmpr_pipeline.dataset.publish.parquet import PublishedImages, row_groups, shard_groups, write_parquet
from mmpr_pipeline.storage import open_store
from tests.dataset.built import build, build_made, noise
from tests.pipeline.made import make_source


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shard of 60 questions, each with a picture of its own of some 45 kB."""
    folder = tmp_path_factory.mktemp("pictures")
    declaration = make_source(folder / "source", questions=60)
    rows = (folder / "source" / "rows.jsonl").read_text()
    for i in range(60):
        rows = rows.replace(f'"image": "{i % 7}.png"', f'"image": "own-{i}.png"', 1)
        (folder / "source" / f"own-{i}.png").write_bytes(noise(i, (128, 120)))
    (folder / "source" / "rows.jsonl").write_text(rows)
    return build(folder / "out", [str(declaration)], 1)


def written(out: Path, target: Path, shards: int = 1) -> Path:
    features = pair_features()
    groups = shard_groups(open_store(out), 0, shards, features)
    write_parquet(target, groups, features.arrow_schema)
    return target


def test_an_image_that_many_pairs_share_costs_once(out: Path, tmp_path: Path) -> None:
    path = written(out, tmp_path / "a.parquet")
    images = PublishedImages(out / layout.shard_key("images", 0, 1))
    named = [
        n
        for b in record_batches(out / layout.shard_key("pairs", 0, 1))
        for names in b["images"].to_pylist()
        for n in names
    ]
    unique = sum(images.sizes[name] for name in set(named))
    repeated = sum(images.sizes[name] for name in named)
    text = (out / layout.shard_key("pairs", 0, 1)).stat().st_size
    assert repeated > 3 * unique, "else this says nothing"
    assert path.stat().st_size <= 1.1 * (unique + text)
    assert path.stat().st_size <= 1.05 * unique + text


def test_the_bytes_are_those_of_the_shard_and_the_same_each_time(out: Path, tmp_path: Path) -> None:
    one, other = written(out, tmp_path / "a.parquet"), written(out, tmp_path / "b.parquet")
    assert one.read_bytes() == other.read_bytes()
    table = pq.read_table(one)
    stored = pa.Table.from_batches(record_batches(out / layout.shard_key("pairs", 0, 1)))
    assert table.num_rows == stored.num_rows
    for images, names in zip(table["images"].to_pylist(), stored["images"].to_pylist(), strict=True):
        assert [hashlib.sha256(image["bytes"]).hexdigest() for image in images] == names
        assert [image["path"] for image in images] == [f"{name}.png" for name in names]
    for name in stored.column_names:
        if name != "images":
            assert table[name].to_pylist() == stored[name].to_pylist()


def test_row_groups_are_bounded_and_never_part_a_question(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 3_000_000)
    file = pq.ParquetFile(written(out, tmp_path / "a.parquet"))
    assert file.num_row_groups > 5
    seen: set[str] = set()
    for number in range(file.num_row_groups):
        group = file.read_row_group(number)
        questions = set(group["question_id"].to_pylist())
        assert not questions & seen
        seen |= questions
        decoded = sum(len(image["bytes"]) for images in group["images"].to_pylist() for image in images)
        assert decoded <= 3_000_000


def row(question: str, images: list[str]) -> dict[str, Any]:
    blank = {name: "" if PAIR_SCHEMA.field(name).type == pa.string() else 0 for name in PAIR_SCHEMA.names}
    return {**blank, "question_id": question, "images": images}


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=PAIR_SCHEMA)


def groups_of(parts: list[pa.RecordBatch], size: int) -> list[list[str]]:
    return [table["question_id"].to_pylist() for table in row_groups(parts, {"x": size})]


def test_a_question_that_goes_on_in_the_next_batch_stays_in_its_group() -> None:
    size = parquet.GROUP_BYTES // 3
    parts = [batch(row("a", ["x"]), row("b", ["x"])), batch(row("b", ["x"]), row("b", ["x"]), row("c", ["x"]))]
    assert groups_of(parts, size) == [["a", "b", "b", "b"], ["c"]]


def test_one_question_too_large_for_arrow_is_cut() -> None:
    size = parquet.LARGEST_GROUP_BYTES // 2
    found = groups_of([batch(*(row("a", ["x"]) for _ in range(3))), batch(row("a", ["x"]))], size)
    assert sum(map(len, found)) == 4
    assert len(found) > 1


def test_rows_end_a_group_too() -> None:
    parts = [batch(*(row(f"q{i // 15}", []) for i in range(2100)))]
    found = groups_of(parts, 0)
    assert [len(group) for group in found] == [990, 990, 120]


def test_questions_without_images_are_kept(tmp_path: Path) -> None:
    RecordFile(tmp_path / "images.arrow", IMAGE_SCHEMA).close()
    images = PublishedImages(tmp_path / "images.arrow")
    features = pair_features()
    pairs = pa.Table.from_batches([batch(row("a", []), row("b", []))])
    table = parquet.embedded(pairs, images, features.arrow_schema)
    write_parquet(tmp_path / "a.parquet", [table], features.arrow_schema)
    assert pq.read_table(tmp_path / "a.parquet")["images"].to_pylist() == [[], []]


def test_an_image_that_is_not_in_its_shard_is_told(tmp_path: Path) -> None:
    made = build_made(tmp_path, questions=6, open_ended=0, shards=1)
    images = PublishedImages(made / layout.shard_key("images", 0, 1))
    with pytest.raises(DatasetError, match="not in its shard"):
        images.bytes_of("0" * 64)


def test_images_are_not_copied_into_memory(out: Path) -> None:
    before = pa.total_allocated_bytes()
    images = PublishedImages(out / layout.shard_key("images", 0, 1))
    assert sum(images.sizes.values()) > 2_000_000
    assert pa.total_allocated_bytes() - before < 100_000
