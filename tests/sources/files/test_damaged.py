"""Files of rows that disks and networks have damaged: what can be read is, the rest is rejected by name."""

from __future__ import annotations

import io
import itertools
import json
import random
import tarfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources import Source
from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS
from mmpr_pipeline.sources.files.formats import LocalFile, Row, Scan, Unreadable
from tests.sources.conftest import Declare
from tests.sources.made import made_rows, png_bytes

COLUMNS = {"id": "id", "question": "question", "image": "image", "answer": "answer"}
ROWS, GROUP, PAGE = 120, 40, 10


def long_rows(count: int) -> list[dict[str, Any]]:
    """Rows with columns of much content, so that pages are far larger than their headers."""
    draw, rows = random.Random(18), made_rows(count)
    for row in rows:
        row |= {name: f"{row[name]} {draw.randbytes(200).hex()}" for name in ("id", "question", "answer")}
        row["image"] = {"bytes": row["image"]["bytes"] + draw.randbytes(300), "path": None}
    return rows


def write(path: Path, **how: Any) -> None:
    """Three row groups of four pages a column."""
    table = pa.Table.from_pylist(long_rows(ROWS))
    pq.write_table(table, path, row_group_size=GROUP, max_rows_per_page=PAGE, use_dictionary=False, **how)


def damage(path: Path, group: int, column: str, at: float) -> None:
    """Other bytes at a share of a column's part of a row group."""
    metadata = pq.ParquetFile(path).metadata.row_group(group)
    chunk = next(
        chunk for chunk in map(metadata.column, range(metadata.num_columns)) if chunk.path_in_schema.startswith(column)
    )
    begin = chunk.data_page_offset + int(chunk.total_compressed_size * at)
    data = bytearray(path.read_bytes())
    for place in range(begin, begin + 6):
        data[place] ^= 0xA5
    path.write_bytes(bytes(data))


def counted(source: Source) -> list[str]:
    index = source.index()
    return [item.reason if isinstance(item, Reject) else "" for item in source.read(index, 0, index.rows)]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet", "rows.tar", "rows.json"])
def test_a_pointer_of_git_lfs_is_no_file_of_rows(name: str, declare: Declare, tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (tmp_path / name).write_text(pointer)
    with pytest.raises(SourceError, match=r"pointer of Git LFS.*\n.*git lfs pull"):
        declare(files=name).index()


def test_text_after_the_end_of_a_list_is_counted(declare: Declare, tmp_path: Path) -> None:
    """Two lists in one file, or one object on each line: all but the first would be lost uncounted."""
    rows = [{"id": str(number), "question": "Q?", "answer": "1"} for number in range(3)]
    source = declare(files="rows.json", columns={**COLUMNS, "image": None}, kind="number", text_only=True)
    (tmp_path / "rows.json").write_text(json.dumps(rows) + " \n\n")
    assert counted(source) == ["", "", ""]
    (tmp_path / "rows.json").write_text(json.dumps(rows) + "\n" + json.dumps(rows))
    assert counted(source) == ["", "", "", "torn_line"]
    (tmp_path / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    assert counted(source)[-1] == "torn_line"
    (tmp_path / "rows.json").write_text(json.dumps({"data": rows, "version": 2}) + "\n")
    assert counted(source) == ["", "", ""]
    (tmp_path / "rows.json").write_bytes(json.dumps(rows).encode("utf-16"))
    with pytest.raises(SourceError, match="UTF-16"):
        source.index()


def test_two_samples_of_one_key_in_a_tar_are_two_rows(declare: Declare, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "rows.tar", "w") as tar:
        for name, data in [("a.png", png_bytes(1)), ("a.txt", b"1"), ("a.png", png_bytes(2)), ("a.txt", b"2")]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    columns = {"question": "txt", "image": "png", "answer": "txt"}
    source = declare(files="rows.tar", columns=columns, kind="number", answer_form=None)
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    assert [item.text for item in items if isinstance(item, Question)] == ["1", "2"]
    assert counted(declare(files="rows.tar", columns={**columns, "id": "__key__"}, kind="number")) == [
        "",
        "duplicate_id",
    ]


def test_decimals_and_dates_of_parquet_are_golds(declare: Declare, tmp_path: Path) -> None:
    made = {"question": ["How much?", "When?"], "image": [png_bytes(1), png_bytes(2)]}
    made |= {"much": [Decimal("1.50"), None], "day": [None, date(2020, 1, 31)]}
    pq.write_table(pa.table(made), tmp_path / "rows.parquet")
    columns = {"question": "question", "image": "image", "answer": "much;day"}
    source = declare(files="rows.parquet", columns=columns, kind="text", answer_form=None)
    index = source.index()
    golds = [item.answer for item in source.read(index, 0, index.rows) if isinstance(item, Question)]
    assert golds == ["1.50", "2020-01-31"]


def read_in(source: Source, size: int) -> list[Question | Reject]:
    index = source.index()
    slices = [(low, min(low + size, index.rows)) for low in range(0, index.rows, size)]
    return [item for low, high in slices for item in source.read(index, low, high)]


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
@pytest.mark.parametrize("column", ["image", "question", "id", "answer"])
def test_a_corrupt_parquet_page_costs_its_rows_and_those_behind_it(
    column: str, compression: str, declare: Declare, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    write(path, compression=compression, write_page_checksum=True)
    damage(path, 1, column, 0.6)
    source = declare(files="rows.parquet", kind="text", columns=COLUMNS)
    found = read_in(source, ROWS)
    reasons = [getattr(item, "reason", "") for item in found]
    assert reasons == [""] * 60 + ["unreadable_row"] * 20 + [""] * 40
    assert all(column in item.detail for item in found if isinstance(item, Reject))
    ids = [row["id"] for row in long_rows(ROWS)]
    assert [item.source_id for item in found] == [
        f"row {n}" if column == "id" and 60 <= n < 80 else ids[n] for n in range(ROWS)
    ]
    for size in (7, 40, 61):
        assert read_in(source, size) == found, "the same for every way of sharing the rows out"


def test_questions_of_damaged_rows_are_counted_as_when_they_were_whole(declare: Declare, tmp_path: Path) -> None:
    rows = [
        {
            "id": f"q{i}",
            "pairs": [{"question": f"{i}.{k}?", "answer": "1"} for k in range(3)],
            "image": {"bytes": png_bytes(i) + random.Random(i).randbytes(500), "path": None},
        }
        for i in range(60)
    ]
    path = tmp_path / "rows.parquet"
    how: dict[str, Any] = {"row_group_size": 20, "max_rows_per_page": 5, "use_dictionary": False}
    pq.write_table(pa.Table.from_pylist(rows), path, write_page_checksum=True, **how)
    damage(path, 1, "image", 0.6)
    columns = {"id": "id", "image": "image", "each": "pairs", "question": "pairs.question", "answer": "pairs.answer"}
    source = declare(files="rows.parquet", kind="text", columns=columns)
    found = read_in(source, 1000)
    assert len(found) == 180
    assert [getattr(item, "reason", "") for item in found].count("unreadable_row") == 30
    assert read_in(source, 11) == found


def test_flips_anywhere_in_parquet_with_checksums_are_rows_less_or_an_error(declare: Declare, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(path, compression="snappy", write_page_checksum=True)
    whole, source = path.read_bytes(), declare(files="rows.parquet", kind="text", columns=COLUMNS)
    good = {item.source_id: item for item in read_in(source, ROWS)}
    draw, errors, wrong = random.Random(18), 0, 0
    for _ in range(100):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(data))
        try:
            found = read_in(source, 50)
        except SourceError as error:
            errors += bool(error.remedy)
            continue
        kept = [item for item in found if isinstance(item, Question)]
        wrong += any(good.get(item.source_id) != item for item in kept)
    assert errors < 20
    assert wrong <= 1, "the checksums of Parquet are of pages; the few bytes of their headers have none"


def local(path: Path) -> LocalFile:
    return LocalFile(path, path.name, path.stat().st_size)


def read(format: Any, file: Any, rows: int) -> list[Row]:
    scan = Scan()
    ROW_FORMATS.get(format).scan(file, scan)
    return list(ROW_FORMATS.get(format).read(file, tuple(scan.marks), 0, rows, None))


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_text_that_is_not_utf8_costs_its_row(format: str, tmp_path: Path) -> None:
    values = pa.array([b"one", b"\xff\xfe", b"three"]).cast(pa.binary())
    text = pa.StringArray.from_buffers(3, values.buffers()[1], values.buffers()[2])
    table = pa.table({"a": text, "b": ["x", "y", "z"]})
    path = tmp_path / f"rows.{format}"
    if format == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    first, second, third = read(format, local(path), 3)
    assert first == {"a": "one", "b": "x"}
    assert third == {"a": "three", "b": "z"}
    assert not isinstance(second, Unreadable)
    assert isinstance(second["a"], Unreadable)
    assert second["b"] == "y"


def test_offsets_that_lead_out_of_an_arrow_file_cost_their_rows(tmp_path: Path) -> None:
    """Followed, they would end the process: such files are mapped into memory."""
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 3, 1 << 30, 9)))
    text = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"onetwosix"))
    schema = pa.schema([("a", pa.string())])
    path = tmp_path / "rows.arrow"
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([text], schema=schema))
    first, second, third = read("arrow", local(path), 3)
    assert first == {"a": "one"}
    assert [isinstance(row["a"], Unreadable) for row in (second, third) if not isinstance(row, Unreadable)] == [
        True
    ] * 2


def test_a_network_that_fails_is_no_damaged_page(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(path)

    class Gone(LocalFile):
        """Opens and shows its footer; then, if not `working`, reading it fails."""

        working = True

        def open(self) -> Any:
            stream, reads = path.open("rb"), itertools.count()

            def read(size: int = -1) -> bytes:
                if not Gone.working and next(reads) > 0:
                    raise ConnectionError("the network is gone")
                return stream.read(size)

            return SimpleNamespace(read=read, seek=stream.seek, tell=stream.tell, close=stream.close, closed=False)

    file = Gone(path, path.name, path.stat().st_size)
    scan = Scan()
    ROW_FORMATS.get("parquet").scan(file, scan)
    Gone.working = False
    with pytest.raises(ConnectionError, match="network"):
        list(ROW_FORMATS.get("parquet").read(file, tuple(scan.marks), 0, ROWS, None))
