"""`mmpr sources add` on rows shaped as those of data sets that many people have; the columns are theirs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpr_pipeline.core.records import PresetPair
from mmpr_pipeline.sources.adding.table import image_form
from tests.sources.adding.test_draft import COLOURS, Rows, drafted, images, lines
from tests.sources.made import png_bytes

COUNT = 24
Make = Callable[[int], dict[str, Any]]


def kept(i: int) -> dict[str, Any]:
    """An image as `datasets` keeps it."""
    return {"bytes": png_bytes(i, (40, 30)), "path": None}


SHAPES: dict[str, tuple[Make, dict[str, Any], str | None]] = {
    "A-OKVQA": (
        lambda i: {"image": kept(i), "question_id": f"q{i}", "question": f"What waits there, {i}?", "choices": COLOURS,
                   "correct_choice_idx": i % 4, "direct_answers": str(["train", "bus"]), "rationales": ["No train."]},
        {"answer": "correct_choice_idx", "kind": "choice", "answer_form": "index"}, "B",
    ),
    "MMMU": (
        lambda i: {"id": f"val_{i}", "question": f"<image 1> What is {i}?", "options": str(COLOURS) if i % 4 else "[]",
                   "image_1": kept(i), "image_2": kept(i + 1) if i % 5 == 0 else None, "image_3": None,
                   "answer": "ABCD"[i % 4] if i % 4 else str(i * 7),
                   "question_type": "multiple-choice" if i % 4 else "open"},
        {"image": ("image_1", "image_2", "image_3"), "choices": "options", "answer_form": "letter"}, "B",
    ),
    "ARC": (
        lambda i: {"id": f"q{i}", "question": f"Which {i}?", "answerKey": "ABCD"[i % 4], "image": kept(i),
                   "choices": {"text": COLOURS, "label": ["A", "B", "C", "D"]}},
        {"answer": "answerKey", "kind": "choice", "answer_form": "letter"}, "B",
    ),
    "VQAv2": (
        lambda i: {"question_id": i, "question": f"What is {i}?", "image": kept(i),
                   "multiple_choice_answer": COLOURS[i % 4],
                   "answers": [{"answer": answer, "answer_id": 1} for answer in ("net", COLOURS[i % 4])]},
        {"answer": "multiple_choice_answer", "answers": None, "kind": "text"}, "blue",
    ),
    "MathVista": (
        lambda i: {"pid": str(i), "question": f"What is the gap, {i}?", "decoded_image": kept(i), "answer": f"{i}.5",
                   "unit": "years" if i % 2 else None, "precision": 1.0},
        {"unit": "unit", "precision": "precision", "kind": "number"}, "1.5",
    ),
    "DocVQA": (
        lambda i: {"questionId": str(i), "question": f"What is the date of doc {i}?", "image": kept(i),
                   "answers": [f"1/8/{50 + i}", f"1/8/19{50 + i}"]},
        {"id": "questionId", "answers": "answers", "kind": "text"}, "1/8/51",
    ),
    "R1, in tags": (
        lambda i: {"image": kept(i), "problem": f"Find {i}.", "solution": f"<think>{i}, two more.</think>\n\n"
                   f"<answer> {i + 2} </answer>"},
        {"answer": "solution", "answer_after": "<answer>", "kind": "number"}, "3",
    ),
    "worked, in a box": (
        lambda i: {"image": kept(i), "problem": f"Find {i}.",
                   "solution": f"So it is $\\boxed{{\\frac{{{i}}}{{7}}}}$ cm"},
        {"answer_after": "\\boxed{", "kind": "math"}, "\\frac{1}{7}",
    ),
    "verl": (
        lambda i: {"prompt": [{"role": "user", "content": f"<image>Find {i}. Think first."}], "images": [kept(i)],
                   "reward_model": {"style": "rule", "ground_truth": str(i)},
                   "extra_info": {"index": i, "answer": str(i), "question": f"<image>Find {i}."}},
        {"question": "extra_info.question", "images": "images", "kind": "number"}, "1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_parquet_of_the_hub(name: str, tmp_path: Path) -> None:
    make, told, gold = SHAPES[name]
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.Table.from_pylist([make(i) for i in range(COUNT)]), tmp_path / "rows" / "test.parquet")
    draft, questions = drafted(tmp_path / "rows", tmp_path)
    assert {key: field(draft.declaration, key) for key in told} == told
    assert (len(questions), questions[1].answer) == (COUNT, gold)


def field(declaration: Any, name: str) -> Any:
    return getattr(declaration.columns, name) if hasattr(declaration.columns, name) else getattr(declaration, name)


def test_a_table_of_people_who_use_spreadsheets(tmp_path: Path) -> None:
    images(tmp_path / "images", COUNT)
    head = ["No", "File Name", "Question", "Option A", "Option B", "Option C", "Option D", "Correct Answer"]
    with (tmp_path / "q.csv").open("w", newline="") as file:
        made = [[i + 1, f"{i}.png", f"What colour is {i}?", *COLOURS, "ABCD"[i % 4]] for i in range(COUNT)]
        csv.writer(file).writerows([head, *made])
    draft, questions = drafted(tmp_path, tmp_path)
    assert (draft.declaration.kind, draft.declaration.columns.answer) == ("choice", "Correct Answer")
    assert (questions[1].choices, questions[1].answer) == (tuple(COLOURS), "B")


@pytest.mark.parametrize(
    "listed",
    ["A. red\nB. blue\nC. green\nD. grey", "(A) red (B) blue (C) green (D) grey", "A：red；B：blue；C：green；D：grey",
     "red\nblue\ngreen\ngrey", "['red', 'blue', 'green', 'grey']", "A: red, B: blue, C: green, D: grey",
     "a) red b) blue c) green d) grey"],
)  # fmt: skip
def test_choices_in_one_text(listed: str, tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"id": i, "question": f"{i}?", "options": listed, "answer": "ABCD"[i % 4], "image": f"{i}.png"}
            for i in range(12)]  # fmt: skip
    draft, questions = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert draft.declaration.columns.choices == "options"
    assert questions[2].choices == tuple(COLOURS)


def test_choices_that_cannot_be_told_apart_are_a_doubt(tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"question": f"{i}?", "options": "red / blue", "answer": "AB"[i % 2], "image": f"{i}.png"}
            for i in range(12)]  # fmt: skip
    draft, _ = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert any("'red / blue'" in doubt for doubt in draft.doubts)


@pytest.mark.parametrize("form", ["path", "data URL"])
def test_images_that_stand_in_the_turns(form: str, tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [
        {
            "messages": [
                {"role": "system", "content": "You count."},
                {"role": "user", "content": [picture(i, form), {"type": "text", "text": f"How many dots, {i}?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": str(i % 5)}]},
                {"role": "user", "content": "And how many lines?"},
                {"role": "assistant", "content": "2"},
            ]
        }
        for i in range(12)
    ]
    draft, questions = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert (draft.declaration.columns.images, draft.declaration.kind) == ("messages.images", "number")
    assert len({item.images[0].sha256 for item in questions}) == 12
    assert questions[0].text == "<image>\nHow many dots, 0?"
    assert questions[1].images == questions[0].images, "a later turn speaks of the image of an earlier one"


def picture(i: int, form: str) -> dict[str, Any]:
    if form == "path":
        return {"type": "image", "image": f"images/{i}.png"}
    import base64

    data = base64.b64encode(png_bytes(i, (40, 30))).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def test_a_path_is_never_made_of_the_gold(tmp_path: Path) -> None:
    images(tmp_path / "images")
    made: Rows = [{"question": f"How many, {i}?", "answer": str(i % 9)} for i in range(12)]
    draft, questions = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert draft.declaration.columns.image_path is None
    assert questions[0].images == ()


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_within_a_file_that_tells_of_itself(indent: int | None, tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"question_id": i, "question": f"What is {i}?", "image": f"images/{i}.png", "answers": [f"w{i}", "x"]}
            for i in range(12)]  # fmt: skip
    whole = {"info": {"year": 2020, "é": ["[{"]}, "version": "1", "data": made, "split": "train"}
    (tmp_path / "train.json").write_text(json.dumps(whole, indent=indent, ensure_ascii=False), "utf-8")
    draft, questions = drafted(tmp_path / "train.json", tmp_path)
    assert draft.declaration.columns.id == "question_id"
    assert [question.answer for question in questions] == [f"w{i}" for i in range(12)]


def test_names_in_chinese_and_a_gold_within_a_struct(tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"题号": i, "题目": f"图中有几个圆 {i}？", "图片": f"{i}.png", "答案": {"value": i % 9, "unit": "个"}}
            for i in range(12)]  # fmt: skip
    draft, questions = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert (draft.declaration.language, draft.declaration.columns.answer) == ("zh", "答案.value")
    assert (questions[3].answer, questions[3].unit) == ("3", "个")


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8), lambda one: st.lists(one, max_size=3), max_leaves=6
)


@given(st.text(alphabet="[]'\"a, .png{}\\", max_size=30) | JSON.map(json.dumps) | JSON.map(str))
def test_any_text_has_a_form_or_none(text: str) -> None:
    assert image_form(text) in (None, "path", "list")


def parts(text: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*more, {"type": "text", "text": text}]


PAIRS: dict[str, tuple[Make, str]] = {
    "RLAIF-V": (
        lambda i: {"image": kept(i), "question": f"What is {i}?", "chosen": f"It is {i}.", "rejected": f"Not {i}.",
                   "origin_dataset": "LCS", "idx": str(i), "image_path": f"llava/{i:03d}.jpg"},
        "question",
    ),
    "turns, with a prompt": (
        lambda i: {"images": [kept(i)],
                   "prompt": [{"role": "user", "content": parts(f"What is {i}?", {"type": "image", "text": None})}],
                   "chosen": [{"role": "assistant", "content": parts(f"It is {i}.")}],
                   "rejected": [{"role": "assistant", "content": parts(f"Not {i}.")}]},
        "prompt",
    ),
    "turns, with the prompt within": (
        lambda i: {"images": [kept(i)],
                   "chosen": [{"role": "user", "content": f"<image>\nWhat is {i}?"},
                              {"role": "assistant", "content": f"It is {i}."}],
                   "rejected": [{"role": "user", "content": f"<image>\nWhat is {i}?"},
                                {"role": "assistant", "content": f"Not {i}."}]},
        "chosen",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_are_there_already(name: str, tmp_path: Path) -> None:
    make, question = PAIRS[name]
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.Table.from_pylist([make(i) for i in range(COUNT)]), tmp_path / "rows" / "train.parquet")
    draft, questions = drafted(tmp_path / "rows", tmp_path)
    columns = draft.declaration.columns
    assert (columns.question, columns.chosen, columns.rejected, columns.turns) == (question, "chosen", "rejected", None)
    assert draft.declaration.kind == "none"
    assert questions[1].preset == PresetPair(chosen="It is 1.", rejected="Not 1.")
    assert questions[1].text.removeprefix("<image>").strip() == "What is 1?"
