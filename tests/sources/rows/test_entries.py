"""Rows of several questions: however nested, each question is one item, in every slice, with an id of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources import Source
from mmpr_pipeline.sources.declaration.schema import Columns
from mmpr_pipeline.sources.files.formats import Unreadable
from mmpr_pipeline.sources.rows.entries import (
    ANSWERING,
    ASKING,
    as_json,
    entry_rows,
    last_said,
    pictured,
    reach,
    spoken,
    turn_text,
    turns,
)
from tests.sources.conftest import Declare
from tests.sources.made import png_bytes


def asked(row: dict[str, Any], **columns: Any) -> list[tuple[Any, Any]]:
    """Question and answer of each entry."""
    told = Columns(question="q", image="image", **columns)
    found = []
    for one in entry_rows(row, told):
        assert not isinstance(one, Unreadable), one
        entry = one[told.turns or told.each]  # type: ignore[index]
        found.append((entry["question"], entry["answer"]))
    return found


LLAVA = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "<image>\nWhat is it?"},
    {"from": "gpt", "value": "A cat."},
    {"from": "human", "value": "Of what colour?"},
    {"from": "gpt", "value": "Black."},
]
OPENAI = [
    {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "What is it?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    {"role": "user", "content": "Of what colour?"},
    {"role": "assistant", "content": "Black."},
]
CAULDRON = [{"user": "<image>\nWhat is it?", "assistant": "A cat."}, {"user": "Of what colour?", "assistant": "Black."}]


@pytest.mark.parametrize("conversation", [LLAVA, OPENAI, CAULDRON, json.dumps(LLAVA)])
def test_conversations_of_every_style_give_the_same_questions(conversation: Any) -> None:
    turns = asked({"conversations": conversation}, turns="conversations")
    assert turns == [("<image>\nWhat is it?", "A cat."), ("Of what colour?", "Black.")]


def test_a_question_without_reply_stays_and_a_reply_to_nothing_goes() -> None:
    turns = [{"from": "gpt", "value": "Hello."}, *LLAVA[1:2], *LLAVA[3:], {"from": "gpt", "value": "More."}]
    assert asked({"c": turns}, turns="c") == [("<image>\nWhat is it?", ""), ("Of what colour?", "Black.")]


def test_lists_of_structs_structs_of_lists_and_parallel_lists_are_the_same() -> None:
    entries = [{"question": "a?", "answer": "1"}, {"question": "b?", "answer": "2"}]
    lists = {"question": ["a?", "b?"], "answer": ["1", "2"]}
    wanted = [("a?", "1"), ("b?", "2")]
    assert asked({"qa": entries}, each="qa") == wanted
    assert asked({"qa": lists}, each="qa") == wanted
    assert asked({"qa": json.dumps(entries)}, each="qa") == wanted
    parallel = entry_rows({**lists, "x": 1}, Columns(question="question", each=("question", "answer")))
    assert [(row["question"], row["answer"], row["x"]) for row in parallel] == [("a?", "1", 1), ("b?", "2", 1)]  # type: ignore[index]


def test_a_list_within_a_struct_is_reached_and_replaced_alone() -> None:
    row = {"json": {"qa": [{"q": "a?"}, {"q": "b?"}], "licence": "MIT"}, "png": b"1"}
    made = entry_rows(row, Columns(question="json.qa.q", each="json.qa"))
    assert made == [
        {"json": {"qa": {"q": "a?"}, "licence": "MIT"}, "png": b"1"},
        {"json": {"qa": {"q": "b?"}, "licence": "MIT"}, "png": b"1"},
    ]
    assert row["json"]["qa"] == [{"q": "a?"}, {"q": "b?"}]  # type: ignore[index]


@pytest.mark.parametrize(
    ("row", "columns", "reason"),
    [
        ({"qa": []}, {"each": "qa"}, "no_entries"),
        ({"qa": None}, {"each": "qa"}, "no_entries"),
        ({}, {"each": "qa"}, "no_entries"),
        ({"qa": "text"}, {"each": "qa"}, "bad_entries"),
        ({"q": ["a", "b"], "a": ["1"]}, {"each": ("q", "a")}, "bad_entries"),
        ({"qa": {"question": "a?", "answer": "1"}}, {"each": "qa"}, "bad_entries"),
        ({"qa": {"question": ["a?"], "answer": "1"}}, {"each": "qa"}, "bad_entries"),
        ({"qa": {"question": ["a?", "b?"], "answer": ["1"]}}, {"each": "qa"}, "bad_entries"),
        ({"c": 5}, {"turns": "c"}, "bad_entries"),
        ({"c": ["human: hello"]}, {"turns": "c"}, "bad_entries"),
        ({"c": [{"from": "gpt", "value": "x"}]}, {"turns": "c"}, "no_entries"),
        ({"c": "[" * 100_000}, {"turns": "c"}, "bad_entries"),
    ],
)
def test_rows_without_entries_are_one_reject(row: dict[str, Any], columns: dict[str, Any], reason: str) -> None:
    (only,) = entry_rows(row, Columns(question="q", **columns))
    assert isinstance(only, Unreadable)
    assert only.reason == reason


COUNTS = [3, 1, 0, 40, 2, 300, 1, 5]


def several(folder: Path, kind: str) -> dict[str, Any]:
    """A source whose rows hold as many questions as COUNTS says, in two files where the format has files of rows."""
    rows: list[dict[str, Any]] = []
    for number, count in enumerate(COUNTS):
        entries = [{"ask": f"Row {number}, question {i}?", "gold": f"{number}.{i}"} for i in range(count)]
        rows.append({"id": f"r{number}", "image": png_bytes(number), "qa": entries})
    columns = {"id": "id", "image": "image", "each": "qa", "question": "qa.ask", "answer": "qa.gold"}
    if kind == "parquet":
        entry = pa.list_(pa.struct([("ask", pa.string()), ("gold", pa.string())]))
        schema = pa.schema([("id", pa.string()), ("image", pa.binary()), ("qa", entry)])
        pq.write_table(pa.Table.from_pylist(rows[:5], schema), folder / "a.parquet", row_group_size=2)
        pq.write_table(pa.Table.from_pylist(rows[5:], schema), folder / "b.parquet")
    elif kind == "tar":
        with webdataset.TarWriter(str(folder / "a.tar")) as writer:
            for row in rows:
                writer.write({"__key__": row["id"], "png": row["image"], "json": {"qa": row["qa"]}})
        columns = {"id": "__key__", "image": "png", "each": "json.qa", "question": "json.qa.ask"}
        columns["answer"] = "json.qa.gold"
    else:
        (folder / "image.png").write_bytes(png_bytes())
        lines = [json.dumps({**row, "image": "image.png"}) for row in rows]
        (folder / "a.jsonl").write_text("\n".join(lines[:5]), "utf-8")
        (folder / "b.jsonl").write_text("\n".join(lines[5:]), "utf-8")
    return {"files": f"*.{kind}", "columns": columns, "kind": "number", "answer_form": None}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "tar"])
def test_every_question_of_every_row_in_every_slice(kind: str, declare: Declare, tmp_path: Path) -> None:
    source = declare(**several(tmp_path, kind))
    index = source.index()
    assert index.rows == sum(max(count, 1) for count in COUNTS)
    whole = list(source.read(index, 0, index.rows))
    wanted = [
        f"r{n}#{i + 1}" if count else f"row {n}#1" for n, count in enumerate(COUNTS) for i in range(max(count, 1))
    ]
    assert [item.source_id for item in whole] == wanted
    assert [item.reason for item in whole if isinstance(item, Reject)] == ["no_entries"]
    golds = [item.answer for item in whole if isinstance(item, Question)]
    assert golds == [f"{n}.{i}" for n, count in enumerate(COUNTS) for i in range(count)]
    for low, high in [(0, 1), (2, 5), (4, 44), (43, 50), (300, 352), (347, 999), (45, 45)]:
        assert list(source.read(index, low, high)) == whole[low:high]
    for limit in (1, 4, 46):
        short = source.index(limit)
        assert short.rows == limit
        assert list(source.read(short, 0, limit)) == whole[:limit]


def test_ids_that_each_question_brings_are_kept_and_repeats_found(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(png_bytes())
    rows = [[("a", "1"), ("b", "2")], [("c", "3"), ("a", "4")]]
    lines = [
        json.dumps({"image": "image.png", "qa": [{"id": key, "q": f"{key}{gold}?", "a": gold} for key, gold in row]})
        for row in rows
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    columns = {"id": "qa.id", "image": "image", "each": "qa", "question": "qa.q", "answer": "qa.a"}
    source = declare(files="rows.jsonl", columns=columns, kind="number", answer_form=None)
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    assert [item.source_id for item in items] == ["a", "b", "c", "a"]
    assert index.duplicates == (3,)
    assert getattr(items[3], "detail", "") == "row 1#2"


def read(source: Source) -> list[Question | Reject]:
    index = source.index()
    return list(source.read(index, 0, index.rows))


def test_a_llava_file_is_read_whole(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png_bytes())
    (tmp_path / "chat.json").write_text(json.dumps([{"id": "x", "image": "1.png", "conversations": LLAVA}]))
    columns = {"id": "id", "image": "image", "turns": "conversations", "question": "conversations.question"}
    columns["answer"] = "conversations.answer"
    source = declare(files="chat.json", columns={**columns, "answer_strip": "."}, kind="text", answer_form=None)
    items = read(source)
    told = [(item.text, item.answer, len(item.images)) for item in items if isinstance(item, Question)]
    assert told == [("<image>\nWhat is it?", "A cat", 1), ("Of what colour?", "Black", 1)]
    assert [item.source_id for item in items] == ["x#1", "x#2"]


def test_turns_keep_the_images_until_then_and_what_was_said_before() -> None:
    shown = [{"type": "image_url", "image_url": {"url": "1.png"}}, {"type": "text", "text": "What is it?"}]
    talk = [
        {"role": "user", "content": shown},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": [{"type": "image", "path": "2.png"}, "And it?"]},
    ]
    found = turns(talk)
    assert isinstance(found, list)
    [(first,), (second,)] = found
    assert (first["question"], first["answer"], first["images"]) == (
        "<image>\nWhat is it?",
        "A cat.",
        [{"url": "1.png"}],
    )
    assert (second["question"], second["answer"]) == ("<image>\nAnd it?", "")
    assert second["images"] == [{"url": "1.png"}, "2.png"]
    assert (first["history"], second["history"]) == ([], talk[:2])
    both = [{"user": shown, "assistant": "A cat."}, {"user": "And?", "assistant": "No."}]
    found = turns(both)
    assert isinstance(found, list)
    assert [(turn["images"], turn["history"]) for (turn,) in found] == [
        ([{"url": "1.png"}], []),
        ([{"url": "1.png"}], both[:1]),
    ]
    assert turns(None) == []


def test_what_is_said_is_told_by_who_says_it() -> None:
    talk = [
        {"from": "system", "value": "Be brief."}, {"from": "Human", "value": "What?"}, "noise",
        {"from": "narrator", "value": "Silence."}, {"role": "bot", "text": "A cat."},
        {"user": "And?", "assistant": "No."},
    ]  # fmt: skip
    assert [(turn.role, turn.text) for turn in spoken(talk)] == [
        ("system", "Be brief."), ("user", "What?"), ("assistant", "A cat."), ("user", "And?"), ("assistant", "No."),
    ]  # fmt: skip
    assert spoken("text") == []
    assert last_said(talk, ASKING) == "What?"
    assert last_said(talk, ANSWERING) == "A cat."
    assert last_said(talk[0], ASKING) is None
    assert last_said({"role": "user", "content": "Alone?"}, ASKING) == "Alone?"
    assert last_said("text", ASKING) is None


def test_parts_of_a_turn_become_lines_and_marks() -> None:
    parts = ["a", {"type": "image"}, {"type": "text", "text": "b"}, {"text": None}, 5]
    assert turn_text(parts) == "a\n<image>\nb"
    assert turn_text(None) == ""
    assert pictured([{"type": "image"}, {"type": "text", "url": "x"}, {"type": "image", "bytes": b"1"}]) == [b"1"]
    assert pictured("text") == []


def test_structs_are_reached_into_and_only_text_that_spells_json_is_read() -> None:
    row = {"a": {"b": {"c": 1}}, "a.x": 2}
    assert [reach(row, name) for name in ("a.b.c", "a.x", "a.b.d", "z", "a.b.c.d")] == [1, 2, None, None, None]
    assert [as_json(text) for text in (" [1]", '{"a": 1}', "[1", "1", 5)] == [[1], {"a": 1}, "[1", "1", 5]
    (one,) = entry_rows({"x": 1, "qa": [{"question": "a?"}]}, Columns(question="qa.question", each="qa"))
    assert one == {"x": 1, "qa": {"question": "a?"}}
