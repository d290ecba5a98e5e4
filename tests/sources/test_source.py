from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.screening.chunks import hash_sketches
from mmpr_pipeline.sources import Source, SourceIndex
from mmpr_pipeline.sources.indexed import repeated_positions
from tests.sources.conftest import Declare
from tests.sources.images.test_load import huge_png
from tests.sources.made import made_rows, png_bytes, write_jsonl


def read_all(source: Source) -> list[Question | Reject]:
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    assert len(items) == index.rows
    return items


def test_every_bad_row_is_a_named_reject_and_nothing_else_is_lost(declare: Declare, tmp_path: Path) -> None:
    good = made_rows(30)[1]
    files = {
        "good.png": png_bytes(3),
        "cut.png": png_bytes(3, (60, 60))[:90],
        "huge.png": huge_png(),
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    number = {"meta": {"kind": "number"}}
    choice = {"meta": {"kind": "choice"}}
    changes: list[tuple[dict[str, Any], str]] = [
        ({}, ""),
        ({"image": "none.png"}, "missing_image"),
        ({"image": "cut.png"}, "broken_image"),
        ({"image": "huge.png"}, "image_too_large"),
        ({"image": "drawing.svg"}, "image_format"),
        ({"image": "../../../../etc/passwd"}, "image_outside_root"),
        ({"image": "https://example.org/a.png"}, "image_url"),
        ({"image": 5}, "wrong_type"),
        ({"image": None}, "missing_image"),
        ({"question": " "}, "empty_question"),
        ({"question": 7}, "wrong_type"),
        ({"meta": {"kind": "poem"}}, "unknown_kind"),
        ({"meta": "number"}, "unknown_kind"),
        ({**number, "answer": None}, "no_answer"),
        ({**choice, "choices": [["nested"], ["lists"]]}, "bad_choices"),
        ({**choice, "choices": ["a", "b"], "answer": "c"}, "answer_not_a_choice"),
        ({}, ""),
    ]
    rows = [{**good, "id": f"r{i}", "image": "good.png", **change} for i, (change, _) in enumerate(changes)]
    del rows[0]["choices"]
    write_jsonl(tmp_path / "rows.jsonl", [*rows, {**rows[0]}, {"id": "bare"}])
    items = read_all(declare(files="rows.jsonl"))
    expected = [*(reason for _, reason in changes), "duplicate_id", "unknown_kind"]
    assert [getattr(item, "reason", "") for item in items] == expected
    assert [item.source_id for item in items] == [*(f"r{i}" for i in range(len(changes))), "r0", "bare"]
    assert all(len(item.detail) <= 300 for item in items if isinstance(item, Reject))


def test_the_second_row_with_an_id_is_rejected_across_files_and_slices(declare: Declare, tmp_path: Path) -> None:
    rows = made_rows(6)
    write_jsonl(tmp_path / "a.jsonl", [rows[0], rows[1], rows[0]])
    write_jsonl(tmp_path / "b.jsonl", [rows[2], rows[1], {**rows[3], "id": 1}, {**rows[4], "id": "1"}])
    source = declare(files=["a.jsonl", "b.jsonl"])
    index = source.index()
    assert index.duplicates == (2, 4, 6)
    for start in range(index.rows):
        (item,) = source.read(index, start, start + 1)
        assert isinstance(item, Reject) == (start in index.duplicates)
    (again,) = source.read(index, 4, 5)
    assert again == Reject(source="made", source_id="q1", reason="duplicate_id", detail="row 4")


def test_repeats_are_positions_with_an_earlier_equal() -> None:
    from array import array

    assert repeated_positions(array("Q", [5, 0, 7, 5, 0, 5, 9, 7])) == [3, 5, 7]
    assert repeated_positions(array("Q")) == []


def test_rows_without_an_id_are_named_by_their_number(declare: Declare, tmp_path: Path) -> None:
    rows = made_rows(3)
    write_jsonl(tmp_path / "rows.jsonl", [{**rows[0], "id": None}, {**rows[1], "id": ""}, rows[2]])
    assert [item.source_id for item in read_all(declare(files="rows.jsonl"))] == ["row 0", "row 1", "q2"]
    columns = {"question": "question", "image": "image", "choices": "choices", "answer": "answer"}
    items = read_all(declare(files="rows.jsonl", columns=columns))
    assert [item.source_id for item in items] == ["row 0", "row 1", "row 2"]


def test_no_files_no_rows_and_a_folder_are_errors_that_say_what_to_do(declare: Declare, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file nowhere") as caught:
        declare(files="nowhere/*.jsonl").index()
    assert "--data-root" in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match="no file folder"):
        declare(files="folder").index()
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(SourceError, match="no rows"):
        declare(files="empty.jsonl").index()
    pq.write_table(pa.Table.from_pylist(made_rows(1)).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(SourceError, match="no rows"):
        declare(files="empty.parquet").index()


def test_data_root_moves_where_paths_start(declare: Declare, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "elsewhere" / "set" / "rows.jsonl", list(made_rows(3)))
    with pytest.raises(SourceError):
        declare(files="set/rows.jsonl").index()
    source = declare(tmp_path / "elsewhere", files="set/rows.jsonl")
    assert all(isinstance(item, Question) for item in read_all(source))


def test_an_image_root_is_where_image_paths_start_and_end(declare: Declare, tmp_path: Path) -> None:
    rows = [{**row, "image": f"{i}.png"} for i, row in enumerate(made_rows(2))]
    (tmp_path / "rows").mkdir()
    (tmp_path / "pictures").mkdir()
    for i in range(2):
        (tmp_path / "pictures" / f"{i}.png").write_bytes(png_bytes(i))
    write_jsonl(tmp_path / "rows" / "rows.jsonl", [*rows, {**rows[0], "id": "out", "image": "../rows/rows.jsonl"}])
    items = read_all(declare(files="rows/rows.jsonl", image_root="pictures"))
    assert [getattr(item, "reason", "") for item in items] == ["", "", "image_outside_root"]


@pytest.mark.slow
def test_a_source_may_have_larger_images_than_others(declare: Declare, tmp_path: Path) -> None:
    """XLRS-Bench's images have 72 megapixels. The limit of bytes grows with that of pixels, wherever images lie, and
    screening looks at such images too."""
    large = PIL.Image.new("L", (9000, 8000), 255)
    large.paste(0, (100, 100, 4000, 3000))
    large.save(tmp_path / "large.png")
    PIL.Image.new("RGB", (2700, 2700), "red").save(tmp_path / "heavy.bmp")  # 22 MB
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(tmp_path / "heavy.bmp", "inside.bmp")
    names = ("large.png", "heavy.bmp", "inside.bmp")
    write_jsonl(tmp_path / "rows.jsonl", [{**made_rows(1)[0], "id": name, "image": name} for name in names])
    usual = read_all(declare(files="rows.jsonl", archives="images.zip", image_root="."))
    assert [getattr(item, "reason", "") for item in usual] == ["image_too_large"] * 3
    source = declare(files="rows.jsonl", archives="images.zip", image_root=".", most_pixels=80_000_000)
    found = read_all(source)
    assert [(item.images[0].width, item.images[0].height) for item in found if isinstance(item, Question)] == [
        (9000, 8000), (2700, 2700), (2700, 2700),
    ]  # fmt: skip
    sketches = hash_sketches(source, source.index(), 0, 1).to_pylist()
    assert len(sketches[0]["hashes"]) == 1


def test_the_fingerprint_is_of_content_not_of_place_or_time(declare: Declare, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "one" / "rows.jsonl", list(made_rows(5)))
    first = declare(tmp_path / "one", files="rows.jsonl").index()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert declare(tmp_path / "two", files="rows.jsonl").index() == first
    assert str(tmp_path) not in first.model_dump_json()
    assert declare(tmp_path / "two", files="rows.jsonl", tiles=3).index().fingerprint != first.fingerprint
    assert declare(tmp_path / "two", files="rows.jsonl", licence="MIT").index().fingerprint == first.fingerprint
    assert declare(tmp_path / "two", files="rows.jsonl").index(limit=2).fingerprint == first.fingerprint
    path.write_text(path.read_text().replace("number 4?", "number 5?"))  # as many bytes as before
    assert declare(tmp_path / "one", files="rows.jsonl").index().fingerprint != first.fingerprint


def test_source_and_index_travel_between_processes(declare: Declare, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", list(made_rows(5)))
    source = declare(files="rows.jsonl")
    index = source.index()
    again, other = pickle.loads(pickle.dumps(source)), SourceIndex.model_validate_json(index.model_dump_json())
    assert other == index
    assert list(again.read(other, 1, 3)) == list(source.read(index, 1, 3))


def test_a_file_that_changed_after_the_index_is_an_error(declare: Declare, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", list(made_rows(5)))
    source = declare(files="rows.jsonl")
    index = source.index()
    text = path.read_text()
    path.write_text(text.replace("}\n", "} ", 1))  # as many bytes, a row fewer
    with pytest.raises(SourceError, match="other rows"):
        list(source.read(index, 0, 5))
    path.write_text(text + "more")
    with pytest.raises(SourceError, match="when the build began"):
        list(source.read(index, 0, 5))
    path.unlink()
    with pytest.raises(SourceError, match="when the build began"):
        list(source.read(index, 0, 5))


def test_a_column_of_mixed_types_costs_only_its_own_rows(declare: Declare, tmp_path: Path) -> None:
    rows: list[Any] = [{**row, "image": {"bytes": png_bytes(1)}, "choices": None} for row in made_rows(8)]
    for row in rows:
        row["meta"] = {"kind": "number"}
    for row, answer in zip(rows, [1, 2.5, "3", True, None, ["4"], {"x": 1}, "8"], strict=True):
        row["answer"] = answer
    items = read_all(declare(files=write_jsonl(tmp_path / "rows.jsonl", rows).name))
    golds = [item.answer if isinstance(item, Question) else item.reason for item in items]
    assert golds == ["1", "2.5", "3", "true", "no_answer", "4", "no_answer", "8"]


def test_the_index_of_many_rows_is_small(declare: Declare, tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("w") as out:
        for i in range(100_000):
            out.write(json.dumps({"id": i, "question": "?", "answer": "1", "meta": {"kind": "number"}}) + "\n")
    index = declare(files="rows.jsonl").index()
    assert index.rows == 100_000
    assert len(index.model_dump_json()) < 5_000
