"""Every entry of the catalog: complete, its example rows real questions, golds accepted, foreign golds refused."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from mmpr_pipeline.checking import check_prediction
from mmpr_pipeline.checking.reading.choices import choices_in
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.rollouts.prompts import prompt_for
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.declaration.catalog import catalog_names, expand, find_declaration, source_groups
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration, one_or_several
from mmpr_pipeline.sources.review.preview import LIST_COLUMNS, list_sources, preview_source, show_source
from mmpr_pipeline.sources.rows.choices import LETTERS
from mmpr_pipeline.sources.rows.entries import entry_rows
from mmpr_pipeline.sources.rows.mapping import question_from_row
from tests.sources.made import png_bytes

NANO = ("nano_grid", "nano_chart", "nano_geometry", "nano_describe")
NAMES = catalog_names()
DECLARATIONS = {name: find_declaration(name)[0] for name in NAMES}
SHOWN = [name for name in NAMES if not DECLARATIONS[name].generated]
JUDGED = [name for name in SHOWN if DECLARATIONS[name].kind != "none"]
PAPER = {
    "general": {"vqav2", "gqa", "okvqa", "iconqa"},
    "science": {"ai2d", "scienceqa", "m3cot"},
    "chart": {"chartqa", "dvqa", "mapqa", "figureqa"},
    "math": {"geoqa_plus", "clevr_math", "geometry3k", "geos", "unigeo", "geomverse", "geo170k"},
    "ocr": {"ocrvqa", "textvqa", "infovqa", "docvqa", "sroie", "stvqa"},
    "open": {"rlaif_v"},
}


def with_images(declaration: SourceDeclaration, row: dict[str, Any]) -> dict[str, Any]:
    """The example with images put in: where the row says null there stays none."""
    columns, made = declaration.columns, dict(row)
    for column in one_or_several(columns.image):
        if made.get(column, "") is not None:
            made[column] = png_bytes()
    if columns.images and not isinstance(made.get(columns.images), list):
        made[columns.images] = [png_bytes()]
    return made


def asked(name: str, field: str = "example") -> Question:
    declaration = DECLARATIONS[name]
    row = entry_rows(with_images(declaration, getattr(declaration, field)), declaration.columns)[0]
    assert isinstance(row, dict)
    return question_from_row(declaration, row, "1", lambda raw: raw if isinstance(raw, bytes) else png_bytes())


def outcome(question: Question, prediction: str) -> str:
    assert question.answer is not None
    return check_prediction(
        prediction,
        gold=question.answer,
        golds=question.answers,
        kind=question.kind,
        choices=question.choices,
        question=question.text,
        unit=question.unit,
        precision=question.precision,
        language=question.language,
    ).outcome


def choices_of(question: Question) -> list[str]:
    """The choices, from their column or as the question lists them."""
    return list(question.choices or choices_in(question.text))


def test_the_catalog_has_what_was_promised() -> None:
    assert {"geoqa", "mathvista", "mathvision", "mathverse", "mavis_geometry", "mathv360k", "super_clevr"} <= set(NAMES)
    assert set(NANO) <= set(NAMES)
    assert {name for members in PAPER.values() for name in members} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_entry_is_complete(name: str) -> None:
    declaration, path = find_declaration(name)
    assert declaration.name == path.stem == name
    assert declaration.licence != "unknown"
    assert declaration.groups
    assert declaration.generated or (declaration.example and declaration.homepage and declaration.unconfirmed)
    assert declaration.rows or any("not counted" in note for note in declaration.unconfirmed)
    assert ("evaluation" in declaration.groups) == (declaration.role == "evaluation")


@pytest.mark.parametrize("name", [name for name in NAMES if DECLARATIONS[name].hub])
def test_a_revision_is_a_whole_commit(name: str) -> None:
    hub = DECLARATIONS[name].hub
    assert hub
    assert hub.revision is None or re.fullmatch(r"[0-9a-f]{40}", hub.revision)


@pytest.mark.parametrize("name", NAMES)
def test_tiles_are_those_of_the_paper(name: str) -> None:
    declaration = DECLARATIONS[name]
    if {"ocr", "chart"} & set(declaration.groups):
        assert declaration.tiles == 12
    elif {"general", "science"} & set(declaration.groups):
        assert declaration.tiles == 6


@pytest.mark.parametrize("name", SHOWN)
def test_the_example_row_of_an_entry_becomes_a_question(name: str) -> None:
    declaration, question = DECLARATIONS[name], asked(name)
    kinds: set[str | None] = {declaration.kind} if isinstance(declaration.kind, str) else set()
    for rule in declaration.kind_rules():
        kinds |= {*rule.values.values(), *rule.contains.values(), rule.otherwise}
    assert question.kind in kinds
    assert (question.answer is None) == (question.kind == "none")
    assert question.images
    assert question.tiles == declaration.tiles
    assert "Hint:" not in question.text
    assert "Answer with" not in question.text


@pytest.mark.parametrize("name", JUDGED)
def test_an_entry_accepts_its_own_gold(name: str) -> None:
    question = asked(name)
    assert question.answer
    for gold in (question.answer, *question.answers):
        assert outcome(question, gold) == "correct"
    if question.kind == "choice":
        assert outcome(question, choices_of(question)[LETTERS.index(question.answer)]) == "correct"


@pytest.mark.parametrize("name", JUDGED)
def test_an_entry_refuses_a_foreign_gold(name: str) -> None:
    question, other = asked(name), asked(name, "other_example")
    assert other.answer
    assert other.answer != question.answer
    assert outcome(question, other.answer) != "correct"
    if other.kind == question.kind:
        assert outcome(question, other.answer) == "incorrect"
    if question.kind == "choice":
        wrong = {i for i in range(len(choices_of(question))) if LETTERS[i] != question.answer}
        assert wrong
        for i in wrong:
            assert outcome(question, LETTERS[i]) == "incorrect"
            assert outcome(question, choices_of(question)[i]) == "incorrect"


def test_geoqa_and_mathvista_golds() -> None:
    assert (asked("geoqa").answer, asked("geoqa").language) == ("D", "zh")
    assert (asked("mathvista").answer, asked("mathvista").kind) == ("A", "choice")
    assert (asked("mathvista", "other_example").kind, asked("mathvista", "other_example").unit) == ("number", "g")


def test_mathvista_is_asked_as_its_authors_ask_it() -> None:
    """The unit and the hint reach the prompt, from `query`; `question` has neither. The choices stand there once."""
    number, choice = asked("mathvista", "other_example"), asked("mathvista")
    assert number.text == "what is the total volume of the measuring cup? (Unit: g)"
    assert prompt_for(number, "direct").text.splitlines() == [
        "<image>",
        "what is the total volume of the measuring cup? (Unit: g)",
        "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at "
        "the end.",
        "Reply with the answer only.",
    ]
    turn = prompt_for(choice, "cot-final").text
    assert turn.count("(A) 97") == turn.count("Hint:") == 1
    assert turn.startswith("<image>\nFind $m\\angle H$\n(A) 97\n")


def test_examples_have_the_columns_and_types_of_the_real_rows() -> None:
    assert DECLARATIONS["docvqa"].example
    assert isinstance(DECLARATIONS["docvqa"].example["questionId"], int)
    assert DECLARATIONS["mathv360k"].example
    assert set(DECLARATIONS["mathv360k"].example) == {"image", "conversations"}


def test_data_sets_that_moved_are_named_where_they_are() -> None:
    """lmms-lab moved them to lmms-lab-encoder; LLaVA-OneVision-Data stayed."""
    there = {d.hub.id for d in DECLARATIONS.values() if d.hub and d.hub.id.startswith("lmms-lab/")}
    assert there == {"lmms-lab/LLaVA-OneVision-Data"}
    moved = {name for name, d in DECLARATIONS.items() if d.hub and d.hub.id.startswith("lmms-lab-encoder/")}
    assert moved == {
        "pope", "docvqa_val", "infovqa_val", "mmmu_val", "scienceqa", "scienceqa_test", "ai2d_test", "textvqa",
    }  # fmt: skip


def test_groups_expand_to_their_sources() -> None:
    for group, members in PAPER.items():
        assert members <= set(expand([group]))
        assert members <= set(expand(["mmpr-v1"]))
    assert set(expand(["mmpr-v1"])) <= set(expand(["mmpr-v1.2"]))
    assert len(expand(["mmpr-v1.2-prompts"])) == 39
    assert all(DECLARATIONS[name].role == "evaluation" for name in expand(["evaluation"]))
    assert all(DECLARATIONS[name].kind == "none" for name in expand(["open"]))


def test_no_group_mixes_training_and_evaluation() -> None:
    for members in source_groups().values():
        assert len({DECLARATIONS[name].role for name in members}) == 1


def test_expanding_keeps_order_names_and_paths_and_says_each_source_once() -> None:
    expanded = expand(["mathvista", "my/own.yaml", "science", "m3cot", "mathvista", "nosuch"])
    assert expanded == ["mathvista", "my/own.yaml", "ai2d", "m3cot", "scienceqa", "nosuch"]


def test_no_source_is_called_like_a_group() -> None:
    assert not set(NAMES) & set(source_groups())


def test_a_group_given_for_a_source_is_told_with_its_members() -> None:
    with pytest.raises(ConfigError) as caught:
        open_source("science")
    assert "ai2d, m3cot, scienceqa" in (caught.value.remedy or "")
    with pytest.raises(ConfigError) as caught:
        open_source("scienc")
    assert "science" in (caught.value.remedy or "")


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
    assert [row[0] for row in rows] == NAMES
    assert all(len(row) == len(LIST_COLUMNS) for row in rows)
    shown = show_source("geoqa")
    assert "hz2475/geoQA" in shown
    assert "# not confirmed:" in shown


@pytest.mark.parametrize("name", SHOWN)
def test_show_tells_every_fact(name: str) -> None:
    """Where from, how it is judged, tiles, language, role, licence, size, an example, and what is not confirmed."""
    declaration, shown = DECLARATIONS[name], show_source(name)
    said = yaml.safe_load(shown)
    assert said["tiles"] == declaration.tiles
    assert said["role"] == declaration.role
    assert said["licence"] == declaration.licence
    assert {"language", "columns", "kind", "example", "homepage"} <= set(said)
    assert "hub" in said or "files" in said
    assert "# judged by" in shown
    assert all(note.splitlines()[0][:40] in shown for note in declaration.unconfirmed)
    assert "rows" in said or any("not counted" in note for note in declaration.unconfirmed)


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
