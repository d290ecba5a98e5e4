"""Catalog declarations on rows as they lie on disk: Parquet as the Hub has it, and folders as archives unpack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources import Source, open_source
from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration
from mmpr_pipeline.sources.declaration.schema import one_or_several
from mmpr_pipeline.sources.rows import entries, joined
from mmpr_pipeline.sources.rows.columns import image_path
from tests.sources.made import png_bytes

ON_THE_HUB = [name for name in catalog_names() if find_declaration(name)[0].hub]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FOLDERS = [name for name in catalog_names() if find_declaration(name)[0].files]


def as_parquet(name: str, folder: Path, rows: list[dict[str, Any]]) -> Source:
    """The rows with images as `datasets` writes them, and the entry's declaration pointed at that file."""
    declaration, _ = find_declaration(name)
    columns, made = declaration.columns, []
    images = {"bytes": png_bytes(), "path": "1.png"}
    for row in rows:
        single = one_or_several(columns.image)
        singles = {column: images if row.get(column, "") is not None else None for column in single}
        made.append({**row, **singles, **({columns.images: [images]} if columns.images else {})})
    table = pa.Table.from_pylist(made)
    for column in one_or_several(columns.image):
        at = table.schema.get_field_index(column)
        table = table.set_column(at, column, pa.array([row[column] for row in made], IMAGE))
    pq.write_table(table, folder / "rows.parquet", row_group_size=1)
    return Source(declaration.model_copy(update={"hub": None, "archives": (), "files": ("rows.parquet",)}), folder)


def as_folder(name: str, folder: Path, rows: list[dict[str, Any]]) -> Source:
    """The rows in the file that the entry names, JSON lines, a list or a mapping of ids; images where rows say."""
    declaration, _ = find_declaration(name)
    path = folder / declaration.files[0].replace("*", "part")
    path.parent.mkdir(parents=True)
    if declaration.join:  # the answers in a file of their own, in another order
        asked = ("question_id", "image_id", "question")
        questions = [{name: row[name] for name in asked} for row in rows]
        answers = [{name: row[name] for name in row if name != "question"} for row in reversed(rows)]
        info = {"info": {"year": 2017, "urls": ["a", "b"]}, "license": {"name": "CC"}, "data_subtype": "train2014"}
        path.write_text(json.dumps({**info, "questions": questions}), "utf-8")
        (folder / declaration.join.file).write_text(json.dumps({**info, "annotations": answers}), "utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    elif "_key" in rows[0]:
        keyed = {row["_key"]: {key: value for key, value in row.items() if key != "_key"} for row in rows}
        path.write_text(json.dumps(keyed), "utf-8")
    else:
        path.write_text(json.dumps(rows), "utf-8")
    for row in rows:
        template = declaration.columns.image_path
        found = image_path(template, row.__getitem__) if template else row["image"]
        for image in [found] if isinstance(found, str) else found:
            target = folder / (declaration.image_root or ".") / image
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(png_bytes())
    return open_source(name, folder)


def questions(source: Source) -> list[Question]:
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    rejected = [item for item in items if isinstance(item, Reject)]
    assert not rejected
    return [item for item in items if isinstance(item, Question)]


def rows_of(name: str) -> list[dict[str, Any]]:
    declaration, _ = find_declaration(name)
    return [row for row in (declaration.example, declaration.other_example) if row is not None]


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_rows_as_parquet(name: str, tmp_path: Path) -> None:
    rows = rows_of(name)
    found = questions(as_parquet(name, tmp_path, rows))
    columns = find_declaration(name)[0].columns
    assert len(found) == sum(len(entries.entry_rows(row, columns)) for row in rows)
    assert len({question.question_id for question in found}) == len(found)
    assert all(question.images for question in found)


@pytest.mark.parametrize("name", FOLDERS)
def test_rows_in_folders(name: str, tmp_path: Path) -> None:
    rows = rows_of(name)
    found = questions(as_folder(name, tmp_path, rows))
    assert len(found) == len(rows)
    assert all(question.images for question in found)


def test_gqa_rows_are_known_by_their_keys_and_find_their_images(tmp_path: Path) -> None:
    rows = rows_of("gqa")
    source = as_folder("gqa", tmp_path, rows)
    assert [question.source_id for question in questions(source)] == [row["_key"] for row in rows]
    (tmp_path / "gqa" / "images" / f"{rows[0]['imageId']}.jpg").unlink()
    first = next(source.read(source.index(), 0, 1))
    assert isinstance(first, Reject)
    assert first.reason == "missing_image"


def test_two_photographs_of_a_released_prompt(tmp_path: Path) -> None:
    question = questions(as_folder("mmpr12_nlvr2", tmp_path, rows_of("mmpr12_nlvr2")))[0]
    assert len(question.images) == 2
    assert (question.kind, question.answer, question.tiles) == ("choice", "B", 1)


def test_an_image_id_of_a_hostile_row_stays_in_the_folder(tmp_path: Path) -> None:
    source = as_folder("gqa", tmp_path, rows_of("gqa"))
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(png_bytes())
    path = tmp_path / "gqa" / "train_balanced_questions.json"
    path.write_text(json.dumps({"1": {"question": "Why?", "imageId": "../../secret", "answer": "no"}}), "utf-8")
    item = next(source.read(source.index(), 0, 1))
    assert isinstance(item, Reject)
    assert item.reason == "image_outside_root"


def test_a_conversation_without_an_answer_is_a_named_reject(tmp_path: Path) -> None:
    row = {"texts": [{"user": "What is it?\nBe brief.", "assistant": "", "source": "vqav2"}]}
    source = as_parquet("vqav2", tmp_path, [row])
    item = next(source.read(source.index(), 0, 1))
    assert isinstance(item, Reject)
    assert item.reason == "no_answer"


def test_vqas_official_questions_and_annotations_are_joined_whatever_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "BATCH", 4)
    monkeypatch.setattr(joined, "_GAP", 1)
    example, other = rows_of("vqav2_official")
    rows = [{**(example, other)[i % 2], "question_id": 1000 + i, "multiple_choice_answer": f"a{i}"} for i in range(30)]
    source = as_folder("vqav2_official", tmp_path, rows)
    assert [(q.source_id, q.answer) for q in questions(source)] == [(str(1000 + i), f"a{i}") for i in range(30)]
    index = source.index()
    assert [q.answer for q in source.read(index, 13, 17) if isinstance(q, Question)] == ["a13", "a14", "a15", "a16"]
    annotations = tmp_path / "vqav2" / "v2_mscoco_train2014_annotations.json"
    kept = json.loads(annotations.read_text())
    kept["annotations"] = [row for row in kept["annotations"] if row["question_id"] != 1003]
    annotations.write_text(json.dumps(kept), "utf-8")
    again = source.index()
    assert again.fingerprint != index.fingerprint
    found = list(source.read(again, 2, 5))
    assert [getattr(item, "reason", "") for item in found] == ["", "no_joined_row", ""]
    with pytest.raises(SourceError, match="not any more"):
        list(source.read(index, 0, 3))
