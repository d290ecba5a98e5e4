from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.marks import Mark, Marks, add_marks, append_mark, marks_of, read_all, read_marks
from mmpr_pipeline.dataset.review.marks_summary import marks_summary
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.storage.store import open_store


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


def test_people_are_merged_by_majority_and_a_split_makes_no_pair(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for by, outcome in (("ana", "correct"), ("ben", "incorrect"), ("cem", "incorrect"), ("ana", "ignore")):
        append_mark(store, a_mark(0, outcome, by=by))
    append_mark(store, a_mark(1, "correct", by="ana"))
    append_mark(store, a_mark(1, "incorrect", by="ben"))
    append_mark(store, a_mark(2, "correct", by="ana"))
    append_mark(store, a_mark(2, "clear", by="ben"))
    assert read_marks(store) == {("a" * 32, 0): "incorrect", ("a" * 32, 1): "ignore", ("a" * 32, 2): "correct"}


def test_another_file_of_marks_is_taken_in_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    append_mark(store, a_mark(0, by="ana"))
    other = b'{"question_id": "' + b"a" * 32 + b'", "index": 0, "outcome": "correct", "by": "ben"}\n'
    assert add_marks(store, other, "ben.jsonl") == 1
    assert add_marks(store, other, "ben.jsonl") == 0
    assert len(read_all(store).on("a" * 32)[0]) == 2
    with pytest.raises(DatasetError, match=r"ben\.jsonl, line 1"):
        add_marks(store, b"{}\n{}\n", "ben.jsonl")


def test_precision_comes_from_the_random_sample_alone() -> None:
    marks = Marks()
    for index in range(20):
        wrong = index in (3, 7)
        marks.add(a_mark(index, "incorrect" if wrong else "correct", drawn="sample", judged="correct", rule="number"))
    for index in range(20, 40):  # what was looked at because it was doubtful says nothing of the others
        marks.add(a_mark(index, "incorrect", drawn="queue", judged="correct", rule="guess"))
    found = marks_summary(marks)
    precise = found["precision"]["correct"]
    assert (precise["checked"], precise["right"], precise["share"]) == (20, 18, 0.9)
    assert (round(precise["low"], 3), round(precise["high"], 3)) == (0.699, 0.972), "Wilson's interval of 18 in 20"
    assert found["precision"]["incorrect"]["share"] is None
    assert (found["rollouts"], found["overruled"]) == (40, 22)
    assert found["rules"]["guess"] == {"marked": 20, "overruled": 20}


def test_agreement_of_two_people_is_measured_beyond_chance() -> None:
    marks = Marks()
    said = {("correct", "correct"): 20, ("correct", "incorrect"): 5, ("incorrect", "correct"): 10}
    pairs = [pair for pair, times in said.items() for _ in range(times)] + [("incorrect", "incorrect")] * 15
    for index, (one, other) in enumerate(pairs):
        marks.add(a_mark(index, one, by="ana"))
        marks.add(a_mark(index, other, by="ben"))
    (agreement,) = marks_summary(marks)["agreement"]
    assert (agreement["both"], agreement["same"]) == (50, 35)
    assert round(agreement["kappa"], 3) == 0.4, "the textbook example: 0.7 seen, 0.5 by chance"


def test_any_flipped_bit_of_a_mark_is_told_and_no_verdict_is_lost_silently(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for index in range(2):
        append_mark(store, a_mark(index, note="é"))
    whole = store.read(layout.MARKS)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        store.write(layout.MARKS, bytes(damaged))
        with pytest.raises(DatasetError, match=r"marks\.jsonl, line"):
            read_marks(store)
