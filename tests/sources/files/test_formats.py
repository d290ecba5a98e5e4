from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS
from mmpr_pipeline.sources.files.formats import LocalFile, Scan, Unreadable, jsonl, parquet
from mmpr_pipeline.sources.files.formats import csv as csv_format
from mmpr_pipeline.sources.files.formats import json as json_format
from mmpr_pipeline.sources.source import Source
from tests.sources.conftest import Declare
from tests.sources.made import made_rows, png_bytes, write_jsonl

ROWS = 150
Make = Callable[[Path], dict[str, Any]]


def as_jsonl(folder: Path) -> dict[str, Any]:
    write_jsonl(folder / "a.jsonl", made_rows(ROWS)[:70])  # type: ignore[arg-type]
    write_jsonl(folder / "b.jsonl", made_rows(ROWS)[70:])  # type: ignore[arg-type]
    return {"files": ["b.jsonl", "a.jsonl"]}


def as_json(folder: Path) -> dict[str, Any]:
    rows = [{**row, "image": _base64(row["image"]["bytes"])} for row in made_rows(ROWS)]
    (folder / "rows.json").write_text(json.dumps(rows, indent=1), "utf-8")
    return {"files": "rows.json"}


def as_mapping(folder: Path) -> dict[str, Any]:
    rows = {row.pop("id"): {**row, "image": _base64(row["image"]["bytes"])} for row in made_rows(ROWS)}
    (folder / "rows.json").write_text(json.dumps(rows), "utf-8")
    columns = {"id": "_key", "question": "question", "image": "image", "choices": "choices", "answer": "answer"}
    return {"files": "rows.json", "columns": columns}


def as_parquet(folder: Path) -> dict[str, Any]:
    table = pa.Table.from_pylist(made_rows(ROWS))
    pq.write_table(table.slice(0, 90), folder / "rows-0.parquet", row_group_size=17)
    pq.write_table(table.slice(90), folder / "rows-1.parquet", row_group_size=100)
    return {"files": "rows-*.parquet"}


def as_arrow(folder: Path, stream: bool = False) -> dict[str, Any]:
    table = pa.Table.from_pylist(made_rows(ROWS))
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink:
        make = pa.ipc.new_stream if stream else pa.ipc.new_file
        with make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=40)
    return {"files": "rows.arrow"}


def as_arrow_stream(folder: Path) -> dict[str, Any]:
    return as_arrow(folder, stream=True)


def as_csv(folder: Path, delimiter: str = ",", name: str = "rows.csv") -> dict[str, Any]:
    """Quoted cells, line ends within cells, choices and structs as JSON text."""
    with (folder / name).open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(["id", "question", "image", "choices", "answer", "kind", "note"])
        for row in made_rows(ROWS):
            choices = json.dumps(row["choices"]) if row["choices"] else ""
            image = base64.b64encode(row["image"]["bytes"]).decode()
            kind, note = row["meta"]["kind"], 'several\nlines, "quoted",\tand tabs\r\n'
            writer.writerow([row["id"], row["question"], image, choices, row["answer"], kind, note])
            if row["id"] == "q70":
                out.write("\r\n\n")
    return {"files": name, "kind": {"column": "kind"}}


def as_tsv(folder: Path) -> dict[str, Any]:
    return as_csv(folder, "\t", "rows.tsv")


def as_tar(folder: Path) -> dict[str, Any]:
    for name, rows in (("rows-0.tar", made_rows(ROWS)[:100]), ("rows-1.tar", made_rows(ROWS)[100:])):
        with webdataset.TarWriter(str(folder / name)) as writer:
            for row in rows:
                sample = {name: row[name] for name in ("question", "choices", "answer", "meta")}
                writer.write({"__key__": f"part/{row['id']}", "png": row["image"]["bytes"], "json": sample})
    columns = {"id": "__key__", "question": "json.question", "image": "jpg;png", "choices": "json.choices"}
    columns["answer"] = "json.answer"
    return {"files": "*.tar", "columns": columns, "kind": {"column": "json.meta.kind"}}


def _base64(raw: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(raw).decode()


EVERY: list[Make] = [as_jsonl, as_json, as_mapping, as_parquet, as_arrow, as_arrow_stream, as_tar, as_csv, as_tsv]


def opened(make: Make, declare: Declare, folder: Path) -> Source:
    return declare(**make(folder))


@pytest.mark.parametrize("make", EVERY)
def test_every_row_becomes_its_question(make: Make, declare: Declare, tmp_path: Path) -> None:
    source = opened(make, declare, tmp_path)
    index = source.index()
    assert index.rows == ROWS
    items = list(source.read(index, 0, index.rows))
    assert all(isinstance(item, Question) for item in items)
    for i, item in enumerate(items):
        assert isinstance(item, Question)
        assert item.source_id.removeprefix("part/") == f"q{i}"
        assert item.text == f"What is number {i}?"
        assert item.images[0].data == png_bytes(i)
        assert (item.kind, item.answer) == (("choice", "C") if i % 3 == 0 else ("number", str(i)))


@pytest.mark.parametrize("make", EVERY)
def test_slices_are_the_whole(make: Make, declare: Declare, tmp_path: Path) -> None:
    source = opened(make, declare, tmp_path)
    index = source.index()
    whole = list(source.read(index, 0, ROWS))
    for cuts in ([0, 1, 2, 40, 41, 80, 90, 149, 150], [0, 64, 65, 128, 150], [0, 70, 71, 100, 150]):
        pieces = [item for low, high in itertools.pairwise(cuts) for item in source.read(index, low, high)]
        assert pieces == whole
    assert list(source.read(index, 75, 75)) == []
    assert list(source.read(index, 148, 9999)) == whole[148:]


@pytest.mark.parametrize("make", EVERY)
def test_a_limit_is_the_beginning_of_the_whole(make: Make, declare: Declare, tmp_path: Path) -> None:
    source = opened(make, declare, tmp_path)
    whole = list(source.read(source.index(), 0, ROWS))
    for limit in (1, 17, 95):
        index = source.index(limit)
        assert index.rows == limit
        assert list(source.read(index, 0, limit)) == whole[:limit]
    assert source.index(9999).rows == ROWS


@pytest.mark.parametrize("make", EVERY)
def test_repeated_ids_are_found_in_every_format(make: Make, declare: Declare, tmp_path: Path) -> None:
    fields = make(tmp_path)
    column = {"_key": "question", "__key__": "json.meta.kind"}.get(fields.get("columns", {}).get("id"), "meta.kind")
    column = "kind" if fields.get("kind") == {"column": "kind"} else column
    if column == "question":
        return  # keys of a mapping cannot repeat
    columns = {**(fields.get("columns") or declare(**fields).declaration.columns.model_dump(exclude_none=True))}
    source = declare(**{**fields, "columns": {**columns, "id": column}})
    index = source.index()
    assert len(index.duplicates) == ROWS - 2  # two kinds, so two rows that are the first of their id
    items = list(source.read(index, 0, 20))
    assert [item.reason for item in items[2:] if isinstance(item, Reject)] == ["duplicate_id"] * 18


def test_a_slice_of_json_lines_reads_only_its_part(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("w") as out:
        for i in range(60_000):
            out.write(f'{{"id": {i}, "pad": "{"x" * 80}"}}\n')
    file = LocalFile(path, "rows.jsonl", path.stat().st_size)
    scan = Scan()
    tracemalloc.start()
    jsonl.scan(file, scan)
    assert scan.rows == 60_000
    assert len(scan.marks) < 80

    class Counting(io.FileIO):
        taken = 0

        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer) or 0
            Counting.taken += count
            return count

    class Counted(LocalFile):
        def open(self) -> Any:
            return io.BufferedReader(Counting(str(self.path)))

    rows = list(jsonl.read(Counted(path, "rows.jsonl", 1), tuple(scan.marks), 45_000, 45_010, ["id"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row["id"] for row in rows] == list(range(45_000, 45_010))  # type: ignore[index]
    assert Counting.taken < 300_000
    assert peak < 3_000_000


@pytest.mark.parametrize("torn", ['{"id": "a", "quest', "[1, 2", '{"id": NaNa}', "\x00\x00\x00", '{"a": ' * 5000])
def test_a_torn_line_is_one_row(torn: str, declare: Declare, tmp_path: Path) -> None:
    rows = made_rows(4)
    write_jsonl(tmp_path / "rows.jsonl", [rows[0], torn, rows[1], "", "   ", rows[2]])
    source = declare(files="rows.jsonl")
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    assert [getattr(item, "reason", "") for item in items] == ["", "torn_line", "", ""]
    assert items[1].source_id == "row 1"


def test_a_torn_last_line_and_bytes_that_are_not_utf8(declare: Declare, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [made_rows(1)[0]])
    with path.open("ab") as out:
        out.write(b'{"id": "\xff\xfe"}\n5\n{"id": "q9", "question": "Wh')
    source = declare(files="rows.jsonl")
    index = source.index()
    reasons = [getattr(item, "reason", "") for item in source.read(index, 0, index.rows)]
    assert reasons == ["", "torn_line", "not_an_object", "torn_line"]


def test_a_line_too_long_to_hold_is_one_row(declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_ROW_BYTES", 1000)
    rows = made_rows(2)
    write_jsonl(tmp_path / "rows.jsonl", [rows[0], '{"id": "' + "x" * 5000 + '"}', rows[1], "y" * 2500])
    source = declare(files="rows.jsonl")
    index = source.index()
    reasons = [getattr(item, "reason", "") for item in source.read(index, 0, index.rows)]
    assert reasons == ["", "row_too_large", "", "row_too_large"]


def test_a_byte_order_mark_and_windows_line_ends(declare: Declare, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", list(made_rows(3)))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    source = declare(files="rows.jsonl")
    index = source.index()
    assert [item.source_id for item in source.read(index, 0, 3) if isinstance(item, Question)] == ["q0", "q1", "q2"]


def json_rows(text: bytes, tmp_path: Path, start: int = 0, stop: int = 99) -> list[Any]:
    path = tmp_path / "rows.json"
    path.write_bytes(text)
    file = LocalFile(path, "rows.json", len(text))
    scan = Scan()
    json_format.scan(file, scan)
    rows = list(json_format.read(file, tuple(scan.marks), start, min(stop, scan.rows), []))
    assert len(rows) == max(min(stop, scan.rows) - start, 0)
    return rows


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=6), chunk=st.integers(1, 40))
@example(rows=[{"a": 'x\\"},{', "b": "\\\\"}, {"c": [[{}], "]"]}], chunk=1)
def test_a_json_list_is_split_as_json_parses_it(rows: list[Any], chunk: int, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_format, "_CHUNK", chunk)
        patch.setattr(json_format, "ROWS_PER_MARK", 2)
        for text in (json.dumps(rows), json.dumps(rows, ensure_ascii=False, indent=2)):
            assert json_rows(text.encode("utf-8"), tmp_path) == rows
            assert json_rows(text.encode("utf-8"), tmp_path, 3, 5) == rows[3:5]


def test_json_that_is_cut_off_ends_in_a_torn_row(tmp_path: Path) -> None:
    rows = json_rows(b'[{"a": 1}, {"a": 2}, {"a": "x, ', tmp_path)
    assert rows[:2] == [{"a": 1}, {"a": 2}]
    assert isinstance(rows[2], Unreadable)
    assert json_rows(b"[]", tmp_path) == []
    assert json_rows(b'[{"a": 1}, 7]', tmp_path)[1] == Unreadable("not_an_object", "int")
    assert [type(row) for row in json_rows(b'{"a": {"b": 1}, "c" {"b": 2}}', tmp_path)] == [dict, Unreadable]


def test_json_lines_in_a_json_file_get_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="format: jsonl"):
        json_rows(b'"just text"', tmp_path)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.tar"])
def test_a_file_that_is_something_else_is_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"hello, this is plain text\n" * 50)
    file = LocalFile(path, name, path.stat().st_size)
    with pytest.raises(SourceError, match=name) as caught:
        ROW_FORMATS.get(name.removeprefix("rows.")).scan(file, Scan())  # type: ignore[arg-type]
    assert caught.value.remedy


def test_a_cut_arrow_stream_is_an_error(tmp_path: Path, declare: Declare) -> None:
    fields = as_arrow_stream(tmp_path)
    path = tmp_path / "rows.arrow"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(SourceError):
        declare(**fields).index()


@pytest.mark.parametrize("cut", [700, 1500, 5000])
def test_a_cut_tar_ends_in_one_torn_row(cut: int, tmp_path: Path, declare: Declare) -> None:
    fields = as_tar(tmp_path)
    path = tmp_path / "rows-1.tar"
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: len(data) - cut])
    source = declare(**fields)
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    reasons = [item.reason for item in items if isinstance(item, Reject)]
    assert reasons[-1] == "torn_line"
    assert len(items) == index.rows <= ROWS + 1
    assert list(source.read(index, 120, index.rows)) == items[120:]
    unlimited = declare(**{**fields, "columns": {**fields["columns"], "id": None}})
    assert unlimited.index().rows == index.rows  # as many rows where only headers are looked at


def test_a_broken_header_inside_a_tar_does_not_hide_the_rest(tmp_path: Path, declare: Declare) -> None:
    fields = as_tar(tmp_path)
    path = tmp_path / "rows-1.tar"
    data = bytearray(path.read_bytes())
    data[6 * 1024 : 6 * 1024 + 512] = b"\x01" * 512
    path.write_bytes(bytes(data))
    source = declare(**fields)
    index = source.index()
    last = next(iter(source.read(index, index.rows - 1, index.rows)))
    assert isinstance(last, Reject)
    assert last.reason == "torn_line"


def test_hostile_tar_members(tmp_path: Path, declare: Declare) -> None:
    row = made_rows(2)[1]
    told = json.dumps({"question": "Why?", "answer": "1", "meta": {"kind": "number"}}).encode()
    with tarfile.open(tmp_path / "rows.tar", "w", format=tarfile.GNU_FORMAT) as tar:

        def add(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(data), kind, target
            tar.addfile(member, io.BytesIO(data))

        add("../../escape.png", row["image"]["bytes"])  # a name only: nothing is ever unpacked
        add("../../escape.json", told)
        add("link.png", b"", tarfile.SYMTYPE, "/etc/passwd")
        add("link.json", told)
        add("twice.png", row["image"]["bytes"])
        add("twice.png", b"second")
        add("twice.json", told)
        add("pickle.pkl", b"cos\nsystem\n(S'true'\ntR.")
        add("pickle.json", told)
    fields = {**as_tar(tmp_path), "files": "rows.tar"}
    source = declare(**fields)
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    assert [(item.source_id, getattr(item, "reason", "")) for item in items] == [
        ("../../escape", ""),
        ("link", "missing_column"),
        ("twice", ""),
        ("pickle", "missing_column"),
    ]
    assert not (tmp_path.parent.parent / "escape.png").exists()


def test_a_sparse_tar_member_is_not_unfolded(tmp_path: Path, declare: Declare) -> None:
    header = bytearray(tarfile.TarInfo("q0.png").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[257:265] = b"ustar  \0"
    header[483:495] = b"%011o\0" % (1 << 32)  # the size that it would unfold to: 4 GiB
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    told = json.dumps({"question": "Why?", "answer": "1", "meta": {"kind": "number"}}).encode()
    member = tarfile.TarInfo("q0.json")
    member.size = len(told)
    (tmp_path / "sparse.tar").write_bytes(
        bytes(header) + member.tobuf(tarfile.GNU_FORMAT) + told.ljust(512, b"\0") + b"\0" * 1024
    )
    source = declare(**{**as_tar(tmp_path), "files": "sparse.tar"})
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    assert [getattr(item, "reason", "") for item in items] == ["row_too_large"]


def test_a_compressed_file_is_refused_with_the_remedy(tmp_path: Path, declare: Declare) -> None:
    (tmp_path / "rows.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SourceError, match="Unpack it"):
        declare(**{**as_tar(tmp_path), "files": "rows.tar.gz"}).index()


def test_only_the_declared_columns_of_parquet_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**row, "junk": "z" * 1000} for row in made_rows(10)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    path = tmp_path / "rows.parquet"
    file = LocalFile(path, path.name, path.stat().st_size)
    read = list(ROW_FORMATS.get("parquet").read(file, ((0, 0),), 2, 4, ["id", "meta", "none"]))
    assert read == [{"id": f"q{i}", "meta": rows[i]["meta"]} for i in (2, 3)]


def csv_rows(text: bytes, tmp_path: Path) -> list[Any]:
    path = tmp_path / "rows.csv"
    path.write_bytes(text)
    file, scan = LocalFile(path, "rows.csv", len(text)), Scan()
    csv_format.scan(file, scan)
    rows = list(csv_format.read(file, tuple(scan.marks), 0, 9999, []))
    assert len(rows) == scan.rows
    return [row.reason if isinstance(row, Unreadable) else row for row in rows]


def test_hostile_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert csv_rows(b"a,b\n1,2\n3\n4,5,6\n\xff,1\n,\n", tmp_path) == [
        {"a": "1", "b": "2"}, {"a": "3"}, "torn_line", "torn_line", {"a": None, "b": None},
    ]  # fmt: skip
    assert csv_rows(b'a,b\n1,"never closed\n2,3\n', tmp_path) == ["torn_line", {"a": "2", "b": "3"}]
    assert csv_rows(b"a,b\n1,\0\n2,3\n", tmp_path)[-1] == {"a": "2", "b": "3"}
    monkeypatch.setattr(csv_format, "MAX_ROW_BYTES", 1000)
    assert csv_rows(b"a,b\n1," + b"x" * 5000 + b"\n2,3\n", tmp_path) == ["row_too_large", {"a": "2", "b": "3"}]
    limit = csv.field_size_limit(1000)
    try:
        assert "row_too_large" in csv_rows(b'a,b\n1,"' + b"xxxx\n" * 300 + b'"\n2,3\n', tmp_path)
    finally:
        csv.field_size_limit(limit)
    for text in (b"", b"a,a\n1,2\n"):
        with pytest.raises(SourceError, match="header"):
            csv_rows(text, tmp_path)


def test_vlmevalkit_tables_with_a_column_for_each_choice(declare: Declare, tmp_path: Path) -> None:
    image = base64.b64encode(png_bytes(0, (40, 40))).decode()
    lines = ["index\tquestion\tA\tB\tC\tD\tanswer\timage", f"0\tWhich?\tred\tblue\t\t\tB\t{image}"]
    (tmp_path / "bench.tsv").write_text("\n".join(lines))
    columns = {"id": "index", "question": "question", "choices": ["A", "B", "C", "D"], "answer": "answer"}
    source = declare(files="bench.tsv", columns={**columns, "image": "image"}, kind="choice", answer_form="letter")
    (item,) = source.read(source.index(), 0, 1)
    assert isinstance(item, Question)
    assert (item.choices, item.answer, item.images[0].width) == (("red", "blue"), "B", 40)


def test_a_huge_cell_costs_one_row_at_a_time(declare: Declare, tmp_path: Path) -> None:
    """12 cells of 21 MB that lie in the file as a few kilobytes."""
    rows = [{**row, "choices": None, "meta": {"kind": "number"}} for row in made_rows(14)]
    for row in rows[1:-1]:
        row["image"] = {"bytes": bytes(21_000_000), "path": None}
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "rows.parquet", compression="zstd", use_dictionary=False, write_batch_size=1)
    del table
    assert (tmp_path / "rows.parquet").stat().st_size < 300_000
    source = declare(files="rows.parquet")
    before = pa.total_allocated_bytes()
    reasons, most = [], 0
    for item in source.read(source.index(), 0, 14):
        reasons.append(getattr(item, "reason", ""))
        most = max(most, pa.total_allocated_bytes() - before)
    assert reasons == ["", *["image_too_large"] * 12, ""]
    assert most < 100_000_000


def test_a_column_that_claims_to_be_vast_is_an_error(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.Table.from_pylist(made_rows(50)), tmp_path / "rows.parquet")
    monkeypatch.setattr(parquet, "MAX_COLUMN", 1000)
    source = declare(files="rows.parquet")
    with pytest.raises(SourceError, match="unfolds to"):
        list(source.read(source.index(), 0, 1))


@pytest.mark.parametrize("rows", [3, 499, 500, 501, 3_000])
@pytest.mark.parametrize("torn", [0, 1, 2])
def test_a_quote_that_nobody_closes_costs_its_row(torn: int, rows: int, tmp_path: Path) -> None:
    lines = [f"{n},What is {n}?" for n in range(rows)]
    lines[torn] = f'{torn},"What is {torn}?'
    found = csv_rows(("id,question\n" + "\n".join(lines) + "\n").encode(), tmp_path)
    assert len(found) == rows
    assert [number for number, row in enumerate(found) if row == "torn_line"] == [torn]
    assert found[-1] == ({"id": str(rows - 1), "question": f"What is {rows - 1}?"} if torn < rows - 1 else found[-1])


def test_a_cell_of_many_lines_is_one_row(tmp_path: Path) -> None:
    text = "\n".join(f'line {n} of ""it""' for n in range(400))
    found = csv_rows(f'id,question\n1,"{text}"\n2,b\n'.encode(), tmp_path)
    assert [row["id"] for row in found] == ["1", "2"]
    assert len(found[0]["question"].splitlines()) == 400
