"""A shard holds what it was given, each image once, in the same bytes every time."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import CheckedRollout, Image, PreferencePair, QuestionOutcome, QuestionRow
from mmpr_pipeline.dataset.files import arrow_file, layout, writer
from mmpr_pipeline.dataset.files.writer import ShardWriter
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import IDENTITY, make_outcome, write_shard


def table(out: Path, kind: str, shard: int = 0, of: int = 1) -> pa.Table:
    with pa.memory_map(str(out / layout.shard_key(kind, shard, of))) as source:
        return pa.ipc.open_file(source).read_all()


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    outcomes = [make_outcome(n) for n in range(20)]
    write_shard(open_store(tmp_path), 0, 1, outcomes)
    pairs = [PreferencePair.model_validate(row) for row in table(tmp_path, "pairs").to_pylist()]
    rollouts = [CheckedRollout.model_validate(row) for row in table(tmp_path, "rollouts").to_pylist()]
    rows = [QuestionRow.model_validate(row) for row in table(tmp_path, "questions").to_pylist()]
    assert pairs == [pair for outcome in outcomes for pair in outcome.pairs]
    assert rollouts == [rollout for outcome in outcomes for rollout in outcome.rollouts]
    assert rows == [outcome.row for outcome in outcomes]


def test_each_image_is_stored_once(tmp_path: Path) -> None:
    outcomes = [make_outcome(n) for n in range(20)]
    write_shard(open_store(tmp_path), 0, 1, outcomes)
    images = [Image.model_validate(row) for row in table(tmp_path, "images").to_pylist()]
    given = {image.sha256: image for outcome in outcomes for image in outcome.images}
    assert images == list(given.values())
    assert sum(len(outcome.images) for outcome in outcomes) > len(images)


def test_the_manifest_counts_and_adds_up(tmp_path: Path) -> None:
    outcomes = [make_outcome(n, "bars" if n < 15 else "grids") for n in range(20)]
    manifest = write_shard(open_store(tmp_path), 0, 1, outcomes)
    assert manifest["counts"] == {
        "questions": 20, "paired": 12, "unpaired": {"no_correct": 4}, "rejected": {"broken_image": 4},
        "pairs": {"correctness": 16, "dropout_ntp": 4},
        "rollouts": {"continued": 4, "correct": 16, "incorrect": 16, "unchecked": 16, "unparseable": 16},
        "images": len({i.sha256 for o in outcomes for i in o.images}),
        "generated_tokens": sum(r.tokens for o in outcomes for r in o.rollouts),
    }  # fmt: skip
    assert manifest["sources"]["grids"]["questions"] == 5
    assert [entry["rows"] for entry in manifest["files"]] == [10, 20, 20, 68]
    stored = json.loads((tmp_path / layout.shard_key("manifest", 0, 1)).read_text())
    assert stored == {name: value for name, value in manifest.items() if name != "rehearsal"}
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_same_outcomes_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_ROWS", 7)
    for name in ("one", "two"):
        write_shard(open_store(tmp_path / name), 3, 9, [make_outcome(n) for n in range(30)])
    one, two = ({p.relative_to(d): p.read_bytes() for p in d.rglob("*") if p.is_file()} for d in tmp_path.iterdir())
    assert one == two
    assert len(one) == 5


def test_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_ROWS", 10)
    write_shard(open_store(tmp_path), 0, 1, [make_outcome(n) for n in range(50)])
    sizes = [batch.num_rows for batch in arrow_file.record_batches(tmp_path / layout.shard_key("rollouts", 0, 1))]
    assert sum(sizes) == 170
    assert max(sizes) < 10 + 5


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    heavy = [_with_long_texts(make_outcome(n, rollouts=32)) for n in range(100)]
    seen = []
    with open_store(tmp_path).workspace() as folder:
        writer = ShardWriter(open_store(tmp_path), folder, 0, 1, IDENTITY)
        for _ in range(30):  # about 500 MB of text
            for outcome in heavy:
                writer.add(outcome)
            seen.append(resident())
        writer.finish()
    assert max(seen[5:]) - seen[4] < 48 << 20, f"resident bytes: {seen}"


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _with_long_texts(outcome: QuestionOutcome) -> QuestionOutcome:
    rollouts = tuple(r.model_copy(update={"text": r.text + "and so on " * 500}) for r in outcome.rollouts)
    return dataclasses.replace(outcome, rollouts=rollouts)


def test_an_empty_shard_is_valid(tmp_path: Path) -> None:
    manifest = write_shard(open_store(tmp_path), 0, 1, [])
    assert manifest["counts"]["questions"] == 0
    for kind, schema in layout.SCHEMAS.items():
        found = table(tmp_path, kind)
        assert found.num_rows == 0
        assert found.schema.equals(schema, check_metadata=True)


def test_without_finish_nothing_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(RuntimeError), store.workspace() as folder:  # noqa: PT012
        ShardWriter(store, folder, 0, 1, IDENTITY).add(make_outcome(0))
        raise RuntimeError("the shard's worker fails")
    assert list(tmp_path.rglob("*")) == []


def test_finishing_again_with_the_same_content_is_fine(tmp_path: Path) -> None:
    outcomes = [make_outcome(n) for n in range(5)]
    assert write_shard(open_store(tmp_path), 0, 1, outcomes) == write_shard(open_store(tmp_path), 0, 1, outcomes)


def test_finishing_again_with_other_content_is_refused(tmp_path: Path) -> None:
    write_shard(open_store(tmp_path), 0, 1, [make_outcome(0)])
    with pytest.raises(DatasetError, match="already exists with other content"):
        write_shard(open_store(tmp_path), 0, 1, [make_outcome(1)])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"pairs": 3}, "pairs"),
        ({"rollouts": 99}, "rollouts"),
        ({"correct": 0}, "correct"),
        ({"status": "unpaired", "reason": "x"}, "paired means pairs"),
        ({"reason": "why"}, "a reason unless paired"),
        ({"images": ("0" * 64,)}, "images"),
    ],
)
def test_an_outcome_that_contradicts_itself_is_a_bug(tmp_path: Path, change: dict[str, object], what: str) -> None:
    outcome = make_outcome(0)
    wrong = dataclasses.replace(outcome, row=outcome.row.model_copy(update=change))
    store = open_store(tmp_path)
    with store.workspace() as folder, pytest.raises(DatasetError, match=what):
        ShardWriter(store, folder, 0, 1, IDENTITY).add(wrong)


def test_a_lone_surrogate_becomes_a_mark(tmp_path: Path) -> None:
    outcome = make_outcome(3)
    bad = outcome.rollouts[0].model_copy(update={"text": "x \ud800 y"})
    write_shard(open_store(tmp_path), 0, 1, [dataclasses.replace(outcome, rollouts=(bad, *outcome.rollouts[1:]))])
    assert table(tmp_path, "rollouts")["text"][0].as_py() == "x ? y"


def test_images_can_be_read_in_place(tmp_path: Path) -> None:
    outcomes = [make_outcome(n) for n in range(20)]
    write_shard(open_store(tmp_path), 0, 1, outcomes)
    raw = (tmp_path / layout.shard_key("images", 0, 1)).read_bytes()
    assert all(image.data in raw for outcome in outcomes for image in outcome.images)


def test_the_same_files_in_a_bucket(tmp_path: Path, s3_bucket: str) -> None:
    outcomes = [make_outcome(n) for n in range(10)]
    local, remote = open_store(tmp_path), open_store(f"s3://{s3_bucket}/out")
    assert write_shard(local, 0, 1, outcomes) == write_shard(remote, 0, 1, outcomes)
    assert local.list() == remote.list()
    assert all(local.read(key) == remote.read(key) for key in local.list())
