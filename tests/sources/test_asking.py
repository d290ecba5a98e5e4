"""How a question is asked, as far as its row and its declaration decide it: instructions, decimals, own prompts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mmpr_pipeline.core.records import Prompting, Question, question_id
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.rows.mapping import question_from_row

ASKED = {"id": "1", "question": "How many?\nAnswer the question using a single word or phrase.", "answer": "3"}


def plain(**more: Any) -> SourceDeclaration:
    fields = {"name": "made", "description": "Made.", "kind": "number", "text_only": True, "files": "x.jsonl"}
    columns = {"id": "id", "question": "question", "answer": "answer", **more.pop("columns", {})}
    return SourceDeclaration.model_validate({**fields, "columns": columns, **more})


def question_of(row: dict[str, Any], **more: Any) -> Question:
    return question_from_row(plain(**more), row, "1", lambda raw: raw)


def test_an_instruction_is_taken_off_and_kept_apart_and_the_id_stays() -> None:
    found = question_of(ASKED)
    assert (found.text, found.instruction) == ("How many?", "Answer the question using a single word or phrase.")
    kept = question_of(ASKED, prompt={"strip": False})
    assert (kept.text, kept.instruction) == (ASKED["question"], "")
    assert found.question_id == kept.question_id == question_id("made", [], ASKED["question"], ())


def test_what_the_declaration_cuts_off_is_kept_as_the_instruction_too() -> None:
    row = {**ASKED, "question": "<image>\nHint: Be exact.\nQuestion: How many?\nEnd of it."}
    found = question_of(row, columns={"question_after": "Question:", "question_until": "\nEnd"})
    assert (found.text, found.instruction) == ("How many?", "Hint: Be exact.\nQuestion:\nEnd of it.")


def test_decimals_of_a_hint_hold_where_the_source_gives_none() -> None:
    hint = "Hint: Please answer the question requiring a floating-point number with two decimal places and provide the "
    row = {**ASKED, "question": f"{hint}final value, e.g., 1.23, 1.34, 1.45, at the end.\nQuestion: How long?"}
    assert (question_of(row).text, question_of(row).precision) == ("How long?", 2.0)
    assert question_of({**row, "p": 1.0}, columns={"precision": "p"}).precision == 1.0
    assert question_of(row, kind="text").precision is None


def test_a_source_says_how_it_is_asked() -> None:
    found = question_of(ASKED, prompt={"style": "cot-boxed", "cot": "Think.", "language": "zh"})
    assert found.prompting == Prompting(style="cot-boxed", cot="Think.", language="zh")
    assert question_of(ASKED).prompting is None
    with pytest.raises(ValidationError, match="image"):
        plain(prompt={"cot": "Look at <image> and think."})
