from __future__ import annotations

import subprocess
import sys

import pytest

from mmpr_pipeline.records import Question
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.catalog import catalog_names, find_declaration
from mmpr_pipeline.sources.mapping import question_from_row
from mmpr_pipeline.sources.preview import LIST_COLUMNS, list_sources, preview_source, show_source
from tests.sources.made import png_bytes

NANO = ("nano_grid", "nano_chart", "nano_geometry", "nano_describe")


def test_the_catalog_has_what_was_promised() -> None:
    assert {"geoqa", "mathvista", *NANO} <= set(catalog_names())


@pytest.mark.parametrize("name", catalog_names())
def test_a_catalog_entry_is_complete(name: str) -> None:
    declaration, path = find_declaration(name)
    assert declaration.name == path.stem == name
    assert declaration.licence != "unknown"
    assert declaration.rows
    assert declaration.hub is None or (declaration.example and declaration.homepage)
    assert not declaration.files


@pytest.mark.parametrize("name", [name for name in catalog_names() if find_declaration(name)[0].example])
def test_the_example_row_of_an_entry_becomes_a_question(name: str) -> None:
    declaration, _ = find_declaration(name)
    assert declaration.example
    row = {**declaration.example}
    for column in declaration.columns.image_columns():
        row[column] = png_bytes()
    question = question_from_row(declaration, row, "1", lambda raw: raw)
    assert question.answer or question.kind == "none"


def test_geoqa_and_mathvista_golds() -> None:
    examples = {}
    for name in ("geoqa", "mathvista"):
        declaration, _ = find_declaration(name)
        row = {**(declaration.example or {}), **dict.fromkeys(declaration.columns.image_columns(), png_bytes())}
        examples[name] = question_from_row(declaration, row, "1", lambda raw: raw)
    assert (examples["geoqa"].answer, examples["geoqa"].language) == ("D", "zh")
    assert (examples["mathvista"].answer, examples["mathvista"].kind) == ("A", "choice")


@pytest.mark.parametrize("name", NANO)
def test_nano_rows_are_questions_and_slices_are_the_whole(name: str) -> None:
    source = open_source(name)
    index = source.index(limit=30)
    assert index.rows == 30
    assert source.index().rows == 10_000
    items = list(source.read(index, 0, 30))
    assert all(isinstance(item, Question) for item in items)
    assert list(source.read(index, 11, 14)) == items[11:14]
    assert {item.answer is None for item in items if isinstance(item, Question)} == {name == "nano_describe"}


def test_list_and_show() -> None:
    rows = list_sources()
    assert [row[0] for row in rows] == catalog_names()
    assert all(len(row) == len(LIST_COLUMNS) for row in rows)
    shown = show_source("geoqa")
    assert "hz2475/geoQA" in shown
    assert "# not confirmed:" in shown


def test_preview_shows_questions_with_their_gold() -> None:
    texts = list(preview_source("nano_grid", 3))
    assert len(texts) == 3
    assert "png 112 x 112" in texts[0]
    assert "gold: " in texts[0]
    assert "open-ended" in next(preview_source("nano_describe", 1))


def test_opening_a_source_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mmpr_pipeline.sources import open_source; open_source('geoqa');"
        "print([m for m in ('torch', 'datasets', 'webdataset', 'huggingface_hub', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
