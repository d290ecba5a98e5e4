from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.marks import Mark, append_mark, marks_of, read_marks
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.storage import open_store


def a_mark(index: int, outcome: str = "incorrect", **more: str) -> Mark:
    return Mark(question_id="a" * 32, index=index, outcome=outcome, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_the_last_mark_on_a_rollout_counts(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    bucket = request.getfixturevalue("s3_bucket") if kind == "s3" else ""
    store = open_store(f"s3://{bucket}/out" if bucket else tmp_path / "out")
    assert read_marks(store) == {}
    for mark in (
        a_mark(0),
        a_mark(1, "ignore", note="blurred\nimage"),
        a_mark(0, "correct"),
        a_mark(2),
        a_mark(2, "clear"),
    ):
        append_mark(store, mark)
    assert read_marks(store) == {("a" * 32, 0): "correct", ("a" * 32, 1): "ignore"}
    assert marks_of(store)["a" * 32, 1].note == "blurred\nimage"
    assert len(store.read(layout.MARKS).splitlines()) == 5, "appended, nothing rewritten"


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    append_mark(store, a_mark(0))
    with open(tmp_path / layout.MARKS, "ab") as file:
        file.write(b'{"question_id": "aaa')
    assert read_marks(store) == {("a" * 32, 0): "incorrect"}
    append_mark(store, a_mark(1))
    assert read_marks(store) == {("a" * 32, 0): "incorrect", ("a" * 32, 1): "incorrect"}


def test_a_line_that_is_no_mark_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(layout.MARKS, b'{"question_id": "a", "index": 0, "outcome": "perhaps"}\n')
    with pytest.raises(DatasetError, match="line 1"):
        read_marks(store)
    with pytest.raises(ValidationError):
        a_mark(-1)
    with pytest.raises(ValidationError):
        a_mark(0, note="x" * 1001)


def test_marks_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: append_mark(store, a_mark(index)), range(60)))
    assert len(read_marks(store)) == 60


def test_marks_do_not_spoil_a_dataset(out: Path) -> None:
    append_mark(open_store(out), a_mark(0))
    assert verify(out).ok
    (out / "marks2.jsonl").write_text("")
    assert [p.name for p in verify(out).problems] == ["extra_file"]
