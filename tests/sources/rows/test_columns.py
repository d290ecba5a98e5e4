"""Conversations, passages, image paths made of columns, kinds by what a text contains."""

from __future__ import annotations

from typing import Any

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.rows.columns import (
    cell_text,
    cut,
    cut_answer,
    image_path,
    is_missing,
    lookup,
    without_marks,
)
from mmpr_pipeline.sources.rows.mapping import question_from_row
from tests.sources.made import png_bytes

CHAT: dict[str, Any] = {
    "name": "made",
    "description": "Made for a test.",
    "files": "rows.jsonl",
    "kind": {"column": "turns.0.value", "contains": {"Choices:": "choice"}, "otherwise": "number"},
    "answer_form": "letter",
    "columns": {
        "question": "turns.0.value",
        "question_after": "Question:",
        "question_until": "\nThink",
        "answer": "turns.1.value",
        "answer_after": "answer is",
        "image": "image",
    },
}


def made(question: str, answer: str, **columns: Any) -> Question:
    declaration = SourceDeclaration.model_validate({**CHAT, "columns": {**CHAT["columns"], **columns}})
    row = {
        "turns": [{"value": question}, {"value": answer}],
        "image": png_bytes(),
        "hint": "It is round.",
        "none": " \n",
    }
    return question_from_row(declaration, row, "1", lambda raw: raw)


def test_a_conversation_becomes_its_question_and_its_last_answer() -> None:
    question = made(
        "<image>\nHint: be brief.\nQuestion: How many?\nThink first.", "The answer is not 2: the answer is 7."
    )
    assert (question.text, question.answer, question.kind) == ("How many?", "7", "number")


def test_choices_in_the_question_make_it_a_choice() -> None:
    question = made("<image>\nQuestion: Which?\nChoices:\n(A) one\n(B) two", "The answer is B.")
    assert (question.kind, question.answer, question.choices) == ("choice", "B", ())
    assert question.text == "Which?\nChoices:\n(A) one\n(B) two"


def test_marks_that_do_not_stand_there_cut_nothing() -> None:
    question = made("How many?", "7")
    assert (question.text, question.answer) == ("How many?", "7")
    assert cut("a Question: b Question: c", "Question:", None) == "b Question: c"
    assert cut("\nfirst\nsecond", None, "\n") == "first"
    assert cut_answer("7.", (), None) == "7."


def test_of_several_marks_the_first_one_found_decides() -> None:
    marks = ["Answer:", "answer is"]
    assert made("How many?", "So the answer is 3\nAnswer: 4", answer_after=marks).answer == "4"
    assert made("How many?", "5 + 3 = 8. The answer is 8", answer_after=marks).answer == "8"


def test_signs_at_the_end_of_a_gold_are_taken_off() -> None:
    assert made("How many?", "$1.96. ", answer_strip=".").answer == "$1.96"
    assert made("How many?", "...", answer_strip=".").answer == "..."


def test_a_passage_stands_before_the_question() -> None:
    assert made("What is it?", "7", context="hint").text == "It is round.\nWhat is it?"
    assert made("What is it?", "7", context="nothing_of_that_name").text == "What is it?"


def test_lists_are_reached_into() -> None:
    row = {"a": [{"b": 1}, {"b": 2}], "c": ["x"]}
    assert lookup(row, "a.1.b") == 2
    assert lookup(row, "c.0") == "x"
    assert lookup(row, "a.5.b") is None
    assert lookup(row, "c.99999999999999999999") is None
    with pytest.raises(ItemRejected, match="missing_column"):
        lookup(row, "a.b", required=True)


def test_an_empty_conversation_is_a_named_reject() -> None:
    declaration = SourceDeclaration.model_validate(CHAT)
    with pytest.raises(ItemRejected) as caught:
        question_from_row(declaration, {"turns": [], "image": png_bytes()}, "1", lambda raw: raw)
    assert caught.value.reason == "empty_question"


def test_an_image_path_made_of_columns() -> None:
    row = {"split": "train", "id": 42, "none": None, "list": [1]}
    assert image_path("{split}/{id:05d}.png", row.__getitem__) == "train/00042.png"
    assert image_path("{split.__class__}", lambda name: name) == "split.__class__"
    for name, reason in (("none", "missing_image"), ("list", "wrong_type")):
        with pytest.raises(ItemRejected) as caught:
            image_path(f"{{{name}}}.png", row.__getitem__)
        assert caught.value.reason == reason


def test_a_row_with_an_image_path_loads_that_path() -> None:
    columns = {"question": "q", "answer": "a", "image_path": "images/{id}.png"}
    declaration = SourceDeclaration.model_validate({**CHAT, "columns": columns, "kind": "number"})
    assert declaration.column_names() == ["q", "a", "id"]
    asked: list[Any] = []
    question = question_from_row(
        declaration, {"q": "How many?", "a": 3, "id": "x7"}, "1", lambda path: asked.append(path) or png_bytes()
    )
    assert asked == ["images/x7.png"]
    assert len(question.images) == 1


def test_choices_written_as_a_python_list() -> None:
    columns = {"question": "q", "answer": "a", "choices": "c", "image": "image"}
    declaration = SourceDeclaration.model_validate({**CHAT, "columns": columns, "kind": "choice"})
    row = {"q": "Which?", "a": "B", "image": png_bytes()}
    question = question_from_row(declaration, {**row, "c": "['it\\'s', \"two\"]"}, "1", lambda raw: raw)
    assert question.choices == ("it's", "two")
    for hostile in ("__import__('os').system('true')", "[" * 5000, "['a'," + "'b'," * 9000 + "]"):
        with pytest.raises(ItemRejected) as caught:
            question_from_row(declaration, {**row, "c": hostile}, "1", lambda raw: raw)
        assert caught.value.reason == "bad_choices"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" a ", " a "),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.5, "1.5"),
        (float("nan"), None),
        (float("inf"), None),
        pytest.param(10**5000, None, id="too many digits"),
        (None, None),
        (["a"], None),
        (b"a", None),
        ("half \ud83d pair", "half \ufffd pair"),
        ("whole \ud83e\udd8a pair", "whole 🦊 pair"),
    ],
)
def test_a_cell_is_text_or_nothing(value: Any, text: str | None) -> None:
    assert cell_text(value) == text


def test_blanks_alone_are_nothing() -> None:
    assert made("How many?", "7", unit="none").unit is None


@pytest.mark.parametrize("gold", ["n/a", "N. A.", "none", "NULL", "nan", "Unknown", "-", "---", " ?", "tbd"])
def test_a_gold_that_says_there_is_none_is_missing(gold: str) -> None:
    assert is_missing(gold)
    assert not is_missing(f"{gold} 1")


@pytest.mark.parametrize(
    ("text", "marks", "answer"),
    [
        (r"so \boxed{1{2}3}. Then", [r"\boxed{"], "1{2}3"),
        (r"so \boxed{1{2}3", [r"\boxed{"], "1{2}3"),
        ("<answer>4</answer> bye", ["<answer>"], "4"),
        ("<answer>4 bye", ["<answer>"], "4 bye"),
        ("Answer: 4. Answer: 5.", ["Answer:"], "5"),
        ("5.", ["Answer:"], "5."),
    ],
)
def test_what_a_mark_opened_ends_where_it_is_closed(text: str, marks: list[str], answer: str) -> None:
    assert cut_answer(text, marks, None) == answer


def test_parts_of_a_path_are_texts_and_whole_numbers() -> None:
    row = {"id": 7, "yes": True, "share": 0.5, "empty": "", "name": "a"}
    assert image_path("{name}/{id:03d}.png", row.__getitem__) == "a/007.png"
    for name, reason in (("yes", "wrong_type"), ("share", "wrong_type"), ("empty", "missing_image")):
        with pytest.raises(ItemRejected) as caught:
            image_path(f"{{{name}}}.png", row.__getitem__)
        assert caught.value.reason == reason


def test_marks_are_taken_out_and_one_inside_of_another_is_refused() -> None:
    assert without_marks(" <image> a <|image_12|> b <IMAGE-3>") == "a  b"
    with pytest.raises(ItemRejected) as caught:
        without_marks("<ima<image>ge>")
    assert caught.value.reason == "image_marks"
