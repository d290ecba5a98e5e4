"""Sources that mean harm, or are merely odd, end to end: a clear error, or rejects that are counted; memory stays flat.

Zip bombs, links and paths out of archives are in test_archives, addresses in test_web, tars and tables in test_formats.
"""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources import Source
from mmpr_pipeline.sources.files.formats import Unreadable
from mmpr_pipeline.sources.indexed import RowPlace
from mmpr_pipeline.sources.rows import entries, mapping
from tests.sources.conftest import Declare
from tests.sources.images.test_load import huge_png
from tests.sources.made import made_rows, png_bytes, write_jsonl

COLUMNS = {"id": "id", "question": "question", "image": "image", "answer": "answer"}
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
IMAGES = {"good": png_bytes(), "drawing": SVG, "bomb": huge_png(), "text": b"hello", "none": b""}
REASONS = {
    "good": "",
    "drawing": "image_format",
    "bomb": "image_too_large",
    "text": "broken_image",
    "none": "broken_image",
}


def reasons(source: Source) -> list[str]:
    index = source.index()
    return [getattr(item, "reason", "") for item in source.read(index, 0, index.rows)]


def rows(name: str = "{}") -> list[dict[str, Any]]:
    return [{"id": key, "question": f"What is {key}?", "image": name.format(key), "answer": "1"} for key in IMAGES]


def as_files(folder: Path) -> dict[str, Any]:
    for key, data in IMAGES.items():
        (folder / f"{key}.png").write_bytes(data)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows("{}.png"))))
    return {"files": "rows.jsonl"}


def as_zip(folder: Path) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, data in IMAGES.items():
            archive.writestr(f"{key}.png", data)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows("{}.png"))))
    return {"files": "rows.jsonl", "archives": "images.zip"}


def as_tar(folder: Path) -> dict[str, Any]:
    with tarfile.open(folder / "rows.tar", "w") as tar:
        for row in rows():
            for name, data in (
                (f"{row['id']}.png", IMAGES[row["id"]]),
                (f"{row['id']}.json", json.dumps(row).encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    columns = {"id": "__key__", "question": "json.question", "image": "png", "answer": "json.answer"}
    return {"files": "rows.tar", "columns": columns}


def as_parquet(folder: Path) -> dict[str, Any]:
    made = [{**row, "image": {"bytes": IMAGES[row["id"]], "path": None}} for row in rows()]
    pq.write_table(pa.Table.from_pylist(made), folder / "rows.parquet")
    return {"files": "rows.parquet"}


@pytest.mark.parametrize("make", [as_files, as_zip, as_tar, as_parquet])
def test_hostile_images_in_every_kind_of_container(make: Any, declare: Declare, tmp_path: Path) -> None:
    told = {"columns": COLUMNS, "kind": "number", "answer_form": None, **make(tmp_path)}
    assert reasons(declare(**told)) == list(REASONS.values())


def test_nul_bytes_in_any_text_are_a_reject(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png_bytes())
    good: dict[str, Any] = {"question": "Which?", "image": "good.png", "choices": ["red", "blue"], "answer": "red"}
    changes: list[dict[str, Any]] = [
        {},
        {"question": "Wh\0ich?"},
        {"choices": ["red", "bl\0ue"]},
        {"choices": ["r\0ed", "blue"], "answer": "r\0ed"},
        {"image": "go\0od.png"},
        {"id": "a\0b"},
    ]
    made = [{"id": str(i), **good, **change} for i, change in enumerate(changes)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, made)))
    source = declare(files="rows.jsonl", columns={**COLUMNS, "choices": "choices"}, kind="choice", answer_form="text")
    assert reasons(source) == ["", "nul_byte", "nul_byte", "nul_byte", "missing_image", ""]
    assert [item.source_id for item in source.read(source.index(), 5, 6)] == ["row 5"]


def test_one_row_and_none(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png_bytes())
    one = {"id": "1", "question": "How many?", "image": "good.png", "answer": "1"}
    told = {"columns": COLUMNS, "kind": "number", "answer_form": None}
    (tmp_path / "one.jsonl").write_text(json.dumps(one))
    (tmp_path / "one.json").write_text(json.dumps([one]))
    (tmp_path / "one.csv").write_text(",".join(one) + "\n" + ",".join(one.values()))
    for name in ("one.jsonl", "one.json", "one.csv"):
        source = declare(files=name, **told)
        index = source.index()
        assert index.rows == 1
        assert [len(list(source.read(index, i * 1 // 8, (i + 1) * 1 // 8))) for i in range(8)].count(1) == 1
    (tmp_path / "zero.jsonl").write_bytes(b"")
    (tmp_path / "zero.json").write_text("[]")
    (tmp_path / "zero.csv").write_text(",".join(one))
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "zero.parquet")
    with tarfile.open(tmp_path / "zero.tar", "w"):
        pass
    for name in ("zero.jsonl", "zero.json", "zero.csv", "zero.parquet", "zero.tar"):
        with pytest.raises(SourceError, match="no rows") as caught:
            declare(files=name, **told).index()
        assert caught.value.remedy


def test_mixed_types_in_every_column_cost_only_their_rows(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png_bytes())
    odd: list[Any] = [None, True, 5, 1.5, "", [], {}, ["x"], {"a": 1}, "\ud800", 10**400, "x" * 200_000]
    good = {"question": "Which?", "image": "good.png", "choices": ["red", "blue"], "answer": "red"}
    made = [{**good, column: value} for column in (*good, "id") for value in odd]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [*made, good])))
    source = declare(files="rows.jsonl", columns={**COLUMNS, "choices": "choices"}, kind="choice", answer_form="text")
    found = reasons(source)
    assert len(found) == len(made) + 1
    assert found[-1] == ""
    types = ["wrong_type"] * 3
    assert found[:12] == [
        "empty_question",
        *types,
        "empty_question",
        *["wrong_type"] * 4,
        "",
        "wrong_type",
        "question_too_long",
    ]
    lost = "missing_image"
    assert found[12:24] == [lost, *types, lost, lost, lost, lost, lost, lost, "wrong_type", lost]
    allowed = {"", "bad_choices", "no_answer", "answer_not_a_choice"}
    assert set(found[24:]) <= allowed


MANY = """
import resource, sys
from pathlib import Path
from mmpr_pipeline.sources import open_source
source = open_source(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
next(iter(source.read(source.index(10), 0, 10)))
before = peak()
index = source.index()
rows = index.rows
count = sum(1 for start in (0, rows // 2, rows - 2000) for _ in source.read(index, start, start + 2000))
print(rows, count, round(peak() - before, 1), len(index.model_dump_json()))
"""


@pytest.mark.parametrize("ids", [pytest.param(False, marks=pytest.mark.campaign), True])
def test_a_million_rows_of_json_lines_in_flat_memory(ids: bool, declare: Declare, tmp_path: Path) -> None:
    """A process of its own, so that the peak is that of the reader: ids cost 8 bytes a row while it is indexed."""
    (tmp_path / "good.png").write_bytes(png_bytes())
    count = 100_000 if ids else 1_000_000  # ids are parsed out of every row, which takes its time
    with (tmp_path / "rows.jsonl").open("w") as out:
        for start in range(0, count, 10_000):
            out.writelines(
                f'{{"id": "q{i}", "question": "How many are in {i}?", "image": "good.png", "answer": "{i % 7}"}}\n'
                for i in range(start, start + 10_000)
            )
    columns = COLUMNS if ids else {key: value for key, value in COLUMNS.items() if key != "id"}
    declare(files="rows.jsonl", columns=columns, kind="number", answer_form=None)
    ran = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "made.yaml")], capture_output=True, text=True, check=True
    )
    rows, read, grown, size = map(float, ran.stdout.split())
    assert (rows, read) == (count, 6000)
    assert grown < 40, f"{grown} MB"
    assert size < 40_000


def test_a_huge_cell_of_json_is_one_reject(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png_bytes())
    good = {"id": "1", "question": "How many?", "image": "good.png", "answer": "1"}
    with (tmp_path / "rows.jsonl").open("w") as out:
        out.write(json.dumps(good) + "\n")
        out.write('{"id": "2", "question": "' + "x" * 70_000_000 + '"}\n')
        out.write(json.dumps({**good, "id": "3", "image": "A" * 31_000_000}) + "\n")
        out.write(json.dumps({**good, "id": "4"}) + "\n")
    source = declare(files="rows.jsonl", columns=COLUMNS, kind="number", answer_form=None)
    assert reasons(source) == ["", "row_too_large", "missing_image", ""]
    assert isinstance(next(iter(source.read(source.index(), 3, 4))), Question)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"choices": "{[]:1}", "answer": "A"}, "bad_choices"),
        ({"choices": {"A": 1 << 20_000, "B": "x"}, "answer": "A"}, "bad_choices"),
        ({"answer": [b"\xff", b"\xfe"]}, "wrong_type"),
        ({"question": "What is <ima<image>ge>?"}, "image_marks"),
        ({"choices": ["<ima<image>ge>", "x"], "answer": "x"}, "image_marks"),
        ({"question": "<image>\u200b\u202e\u2060"}, "empty_question"),
        ({"question": "\U0001f600"}, "a question"),
        ({"answer": "x" * 100_001}, "answer_too_long"),
        ({"choices": ["y" * 60_000, "x" * 60_000], "answer": "x" * 60_000}, "answer_too_long"),
    ],
)
def test_values_that_no_one_foresaw_are_rejects_by_name(
    fields: dict[str, Any], reason: str, declare: Declare, tmp_path: Path
) -> None:
    row = {"id": "1", "question": "What?", "image": {"bytes": png_bytes()}, "answer": "1", "choices": None, **fields}
    source = declare(files="none", kind="choice" if fields.get("choices") else "text")
    item = source._item(row, RowPlace(0), False, lambda reference: png_bytes())
    assert getattr(item, "reason", "a question") == reason


def test_a_precision_beyond_any_float_is_none(declare: Declare) -> None:
    source = declare(files="none", kind="number", columns={**COLUMNS, "precision": "precision"})
    row = {"id": "1", "question": "How tall?", "image": {"bytes": png_bytes()}, "answer": "1", "precision": 10**400}
    item = source._item(row, RowPlace(0), False, lambda reference: png_bytes())
    assert isinstance(item, Question)
    assert item.precision is None


def test_whatever_a_row_raises_costs_the_row_and_what_the_machine_raises_stops(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jsonl(tmp_path / "rows.jsonl", made_rows(3))
    source = declare(files="rows.jsonl")
    index = source.index()

    def raise_for(error: Exception) -> None:
        def choices(row: Any, columns: Any) -> Any:
            if row["id"] == "q0":
                raise error
            return ("one", "two", "number 0")

        monkeypatch.setattr(mapping, "choices_of", choices)

    raise_for(ZeroDivisionError("of the row"))
    found = list(source.read(index, 0, 3))
    assert [getattr(item, "reason", "") for item in found] == ["unreadable_row", "", ""]
    assert found[0].source_id == "q0"
    assert getattr(found[0], "detail", "") == "ZeroDivisionError"
    for error in (OSError(errno.ENOSPC, "disk full"), SourceError("the Hub is gone")):
        raise_for(error)
        with pytest.raises(type(error)):
            list(source.read(index, 0, 3))


def test_whatever_a_conversation_raises_costs_the_row(declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    def hurt(value: Any) -> Any:
        raise ZeroDivisionError

    columns = declare(
        files="none", columns={**COLUMNS, "each": "pairs", "question": "pairs.question"}
    ).declaration.columns
    monkeypatch.setattr(entries, "as_json", hurt)
    [row] = entries.entry_rows({"pairs": [{"question": "What?"}]}, columns)
    assert row == Unreadable("unreadable_row", "ZeroDivisionError")
