from __future__ import annotations

from typing import Any

import pytest

from mmpr_pipeline.checking import check_prediction
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Question, question_id
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.rows.choices import choice_letters, parse_choices
from mmpr_pipeline.sources.rows.columns import lookup, place_marks
from mmpr_pipeline.sources.rows.mapping import question_from_row
from tests.sources.made import png_bytes

RAW = png_bytes(1)


def asked(row: dict[str, Any], **fields: Any) -> Question:
    columns = {"question": "q", "image": "image", "choices": "choices", "answer": "a", **fields.pop("columns", {})}
    data = {"name": "s", "description": "d", "files": "x.jsonl", "kind": "choice", "answer_form": "letter"}
    declaration = SourceDeclaration.model_validate({**data, "columns": columns, **fields})
    return question_from_row(declaration, {"q": "Why?", "image": RAW, **row}, "1", lambda reference: reference)


def reason_of(row: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(ItemRejected) as caught:
        asked(row, **fields)
    return caught.value.reason


ABC = ["red", "blue", "green"]


@pytest.mark.parametrize("gold", ["B", "b", "(B)", "B.", "B)", " B： ", "[B]", "B、", "（B）"])
def test_letters_as_gold(gold: str) -> None:
    assert asked({"choices": ABC, "a": gold}).answer == "B"


@pytest.mark.parametrize(
    ("form", "gold"), [("index", 1), ("index", "1"), ("index", 1.0), ("index1", 2), ("text", "blue")]
)
def test_other_forms_of_gold_become_the_letter(form: str, gold: object) -> None:
    question = asked({"choices": ABC, "a": gold}, answer_form=form)
    assert (question.answer, question.answers, question.choices) == ("B", (), tuple(ABC))


def test_a_text_gold_is_found_whatever_its_case_and_blanks_but_exactly_first() -> None:
    assert choice_letters(" BLUE ", "text", ("red", "Blue")) == ["B"]
    assert choice_letters("no", "text", ("No", "no")) == ["B"]
    assert choice_letters("2", "text", ("2", "3", "2")) == ["A", "C"]


@pytest.mark.parametrize(
    ("form", "gold"),
    [("letter", gold) for gold in ("AC", "A, C", "C, A", "A and C", "(A)(C)", "[AC]", ["A", "C"], "['A', 'C']")]
    + [("index", [0, 2]), ("index", "0, 2"), ("index1", [1, 3]), ("text", ["red", "green"])],
)
def test_a_gold_of_several_choices_is_one_gold_of_their_letters(form: str, gold: object) -> None:
    question = asked({"choices": ABC, "a": gold}, answer_form=form)
    assert (question.answer, question.answers) == ("AC", ())
    judged = {
        said: check_prediction(said, gold="AC", kind="choice", choices=question.choices, question="Why?").outcome
        for said in ("A, C", "A", "ABC")
    }
    assert judged == {"A, C": "correct", "A": "incorrect", "ABC": "incorrect"}


def test_a_word_of_capitals_that_is_a_choice_is_that_choice() -> None:
    assert reason_of({"choices": ["AB", "BC", "CD"], "a": "AB"}) == "answer_not_a_choice"
    listed = {"q": "Which is longest?\nA. AB\nB. BC\nC. CD", "choices": None, "a": "BC"}
    assert asked(listed).answer == "B"


def test_equal_choices_are_equally_right_wherever_they_stand() -> None:
    """Geo170K scales the numbers of its questions, and two choices may then be the same number."""
    question = asked({"choices": ["4.0", "2.5", "4.0 "], "a": "C"})
    assert (question.answer, question.answers) == ("C", ("A",))
    listed = "How long is AB?\nChoices:\nA: 4.0\nB: 2.5\nC: 3.0\nD: 4.0"
    question = asked({"q": listed, "choices": None, "a": "D"})
    assert (question.answer, question.answers) == ("D", ("A",))


def test_a_gold_text_that_two_choices_share_accepts_both_letters() -> None:
    question = asked({"choices": ["2", "3", "2"], "a": "2"}, answer_form="text")
    assert (question.answer, question.answers) == ("A", ("C",))


@pytest.mark.parametrize(
    ("form", "gold"),
    [("letter", "D"), ("letter", "blue"), ("letter", "AE"), ("index", 3), ("index", -1), ("index1", 0), ("text", "b"),
     ("index", "one"), ("index", 0.5), ("index", "nan"), ("index", "1e400")],
)  # fmt: skip
def test_a_gold_that_is_no_choice_is_rejected(form: str, gold: object) -> None:
    assert reason_of({"choices": ABC, "a": gold}, answer_form=form) == "answer_not_a_choice"


def test_choices_may_stand_in_the_question_itself() -> None:
    assert asked({"choices": None, "a": "C"}).answer == "C"
    assert asked({"choices": None, "a": 2}, answer_form="index").answer == "C"
    assert asked({"choices": [], "a": "green"}, answer_form="text").answer == "green"


@pytest.mark.parametrize(
    "value",
    [
        ["x", "7", "2.5"],
        ("x", 7, 2.5),
        '["x", "7", "2.5"]',
        {"A": "x", "B": "7", "C": "2.5", "D": None},
        '{"C": "2.5", "A": "x", "B": 7}',
        [{"text": "x"}, {"text": "7"}, {"value": 2.5}],
    ],
)
def test_every_way_to_give_choices(value: object) -> None:
    assert parse_choices(value) == ("x", "7", "2.5")


@pytest.mark.parametrize(
    "value",
    [["one"], ["a", ""], ["a", None], ["a", ["b"]], "a, b", 7, ["x"] * 27, ["a", "<image>"], {"A": "a"}, "[" * 9999],
)
def test_bad_choices(value: object) -> None:
    with pytest.raises(ItemRejected) as caught:
        parse_choices(value)
    assert caught.value.reason == "bad_choices"


def test_image_marks_inside_choices_are_taken_out() -> None:
    assert parse_choices(["<image> left", "right <image2>"]) == ("left", "right")


def test_choices_of_a_question_that_is_no_choice_are_not_shown() -> None:
    question = asked({"choices": ABC, "a": "5"}, kind="number")
    assert (question.choices, question.answer) == ((), "5")


@pytest.mark.parametrize(
    ("value", "kind", "gold"),
    [(5, "number", "5"), (2.5, "number", "2.5"), (True, "yes_no", "yes"), (False, "yes_no", "no"),
     (True, "text", "true"), ([1, 2], "list", "[1, 2]"),
     (["甲"], "list", '["甲"]'), (" x ", "text", "x"), (0, "number", "0")],
)  # fmt: skip
def test_golds_that_are_not_text(value: object, kind: str, gold: str) -> None:
    assert asked({"a": value}, kind=kind).answer == gold


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), [], {}])
def test_no_gold(value: object) -> None:
    assert reason_of({"a": value}, kind="number") == "no_answer"
    assert asked({"a": value}, kind="none").answer is None


def test_several_golds() -> None:
    columns = {"answer": None, "answers": "all"}
    question = asked({"all": ["cola", "Coca Cola", "cola", None]}, kind="document", columns=columns)
    assert (question.answer, question.answers) == ("cola", ("Coca Cola",))
    question = asked({"a": "x", "all": [{"answer": "y", "answer_id": 1}]}, kind="text", columns={"answers": "all"})
    assert (question.answer, question.answers) == ("x", ("y",))


def test_kind_by_the_first_rule_that_knows_the_row() -> None:
    rules = [
        {"column": "question_type", "values": {"multi_choice": "choice"}},
        {"column": "answer_type", "values": {"integer": "number", "list": "list"}},
    ]
    row = {"a": "A", "question_type": "free_form", "answer_type": "integer"}
    assert asked(row, kind=rules).kind == "number"
    assert asked({**row, "question_type": "multi_choice"}, kind=rules).kind == "choice"
    assert reason_of({**row, "answer_type": "poem"}, kind=rules) == "unknown_kind"
    assert asked({"a": "A"}, kind=[*rules, {"column": "none", "otherwise": "text"}]).kind == "text"


def test_kind_as_the_column_says_it() -> None:
    assert asked({"a": "x", "k": "math"}, kind={"column": "k"}).kind == "math"
    assert reason_of({"a": "x", "k": "poem"}, kind={"column": "k"}) == "unknown_kind"
    assert reason_of({"a": "x", "k": ["math"]}, kind={"column": "k"}) == "unknown_kind"


def test_language_unit_and_precision_from_columns() -> None:
    language = {"column": "meta.lang", "values": {"chinese": "zh"}}
    row = {"a": "5", "meta": {"lang": "chinese"}, "u": "cm", "p": 1.0}
    question = asked(row, kind="number", language=language, columns={"unit": "u", "precision": "p"})
    assert (question.language, question.unit, question.precision) == ("zh", "cm", 1.0)
    question = asked(
        {"a": "5", "u": "", "p": "x"}, kind="number", language=language, columns={"unit": "u", "precision": "p"}
    )
    assert (question.language, question.unit, question.precision) == ("en", None, None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"q": ""}, "empty_question"),
        ({"q": None}, "empty_question"),
        ({"q": " <image>\n"}, "empty_question"),
        ({"q": "why " * 30_000}, "question_too_long"),
        ({"q": 5}, "wrong_type"),
        ({"q": ["a"]}, "wrong_type"),
    ],
)
def test_questions_that_are_none(row: dict[str, Any], reason: str) -> None:
    assert reason_of({"a": "A", **row}) == reason


def test_missing_columns_are_named() -> None:
    with pytest.raises(ItemRejected) as caught:
        asked({"a": "A"}, columns={"question": "prompt"})
    assert caught.value.reason == "missing_column"
    assert caught.value.detail.startswith("prompt")
    assert reason_of({"a": "A"}, columns={"image": "picture"}) == "missing_column"


def test_rows_of_another_split_are_not_selected() -> None:
    assert reason_of({"a": "A", "split": "test"}, where={"split": ["train"]}) == "not_selected"
    assert asked({"a": "A", "split": "train"}, where={"split": "train"}).answer == "A"


def test_several_images_in_one_column_and_in_many() -> None:
    raws = [png_bytes(i) for i in range(3)]
    listed = asked({"images": raws, "a": "A"}, columns={"image": None, "images": "images"})
    apart = asked(dict(zip("xyz", [*raws[:2], None], strict=True)) | {"a": "A"}, columns={"image": ["x", "y", "z"]})
    assert [image.data for image in listed.images] == raws
    assert [image.data for image in apart.images] == raws[:2]
    assert reason_of({"images": [], "a": "A"}, columns={"image": None, "images": "images"}) == "missing_image"
    assert reason_of({"images": [RAW] * 33, "a": "A"}, columns={"image": None, "images": "images"}) == "too_many_images"


def test_a_question_without_an_image_only_where_declared() -> None:
    question = asked({"image": None, "a": "A"}, text_only=True)
    assert question.images == ()


@pytest.mark.parametrize(
    ("text", "count", "placed", "order"),
    [
        ("Look <image> here", 1, "Look <image> here", [0]),
        ("<image1> or <image2>?", 2, "<image> or <image>?", [0, 1]),
        ("<image2> or <image 1>?", 2, "<image> or <image>?", [1, 0]),
        ("<|image_1|> it", 1, "<image> it", [0]),
        ("<image><image> same", 1, "same", [0]),
        ("<image> one", 2, "one", [0, 1]),
        ("<image1> and <image1>", 2, "and", [0, 1]),
        ("<image3> it", 1, "it", [0]),
        ("no mark", 1, "no mark", [0]),
        ("<image> gone", 0, "gone", []),
    ],
)
def test_image_marks(text: str, count: int, placed: str, order: list[int]) -> None:
    assert place_marks(text, count) == (placed, order)


def test_images_go_in_the_order_in_which_the_text_names_them() -> None:
    raws = [png_bytes(0), png_bytes(1)]
    row = {"q": "Is <image2> left of <image1>?", "images": raws, "a": "A"}
    question = asked(row, columns={"image": None, "images": "images"})
    assert [image.data for image in question.images] == raws[::-1]
    assert question.text == "Is <image> left of <image>?"


def test_identity_is_of_the_source_its_images_as_they_are_the_text_and_the_choices() -> None:
    import hashlib

    question = asked({"choices": ABC, "a": "A"})
    assert question.question_id == question_id("s", [hashlib.sha256(RAW).hexdigest()], "Why?", ABC)
    assert asked({"choices": ABC, "a": "B"}).question_id == question.question_id
    others = [{"q": "Who?"}, {"image": png_bytes(2)}, {"choices": ABC[::-1]}]
    assert (
        len({asked({"choices": ABC, "a": "A", **other}).question_id for other in others} | {question.question_id}) == 4  # type: ignore[dict-item]
    )


def test_columns_can_be_fields_of_structs_and_alternatives() -> None:
    assert lookup({"a": {"b": {"c": 1}}}, "a.b.c") == 1
    assert lookup({"a.b": 2, "a": {"b": 1}}, "a.b") == 2
    assert lookup({"png": 3}, "jpg;png") == 3
    assert lookup({"jpg": None, "png": 3}, "jpg;png") == 3
    assert lookup({"jpg": None}, "jpg;png") is None
    assert lookup({"a": 5}, "a.b") is lookup({"a": 5}, None) is None
    with pytest.raises(ItemRejected, match=r"a\.b; the row has a"):
        lookup({"a": 5}, "a.b", required=True)


def test_text_that_cannot_be_written_is_mended() -> None:
    question = asked({"q": "half \ud83d of a pair", "a": "A"})
    question.text.encode("utf-8")
    assert asked({"q": "中文 😀", "a": "A"}).text == "中文 😀"


@pytest.mark.parametrize(
    "value",
    [
        ["red", "blue"],
        {"A": "red", "B": "blue"},
        {"label": ["A", "B"], "text": ["red", "blue"]},
        [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}],
        [{"A": "red"}, {"B": "blue"}],
        [["A", "red"], ["B", "blue"]],
        ["A. red", "B. blue"],
        ["(A) red", "（B） blue"],
        ["A: red", "B：blue"],
        "['A. red', 'B. blue']",
        '{"B": "blue", "A": "red"}',
    ],
)
def test_choices_however_nested(value: Any) -> None:
    assert parse_choices(value) == ("red", "blue")


def test_letters_that_are_not_those_of_the_places_stay() -> None:
    assert parse_choices(["B. red", "A. blue"]) == ("B. red", "A. blue")
    assert parse_choices(["A. Lincoln", "T. Roosevelt"]) == ("A. Lincoln", "T. Roosevelt")


@pytest.mark.parametrize("form", ["letter", "text"])
@pytest.mark.parametrize("gold", ["B. blue", "(B) Blue", "B: blue"])
def test_a_gold_with_its_letter_and_its_text(gold: str, form: str) -> None:
    assert choice_letters(gold, form, ("red", "blue")) == ["B"]
    with pytest.raises(ItemRejected):
        choice_letters(gold, form, ("red", "green"))


def test_a_list_of_one_answer_is_that_answer() -> None:
    told = {"choices": ["red", "blue"], "a": [1]}
    assert asked(told, answer_form="index").answer == "B"


def test_a_gap_among_columns_of_choices_moves_no_letter() -> None:
    """`B` means the second column, whether or not the first one holds a choice."""
    columns = {"choices": ["w", "x", "y"]}
    kept = asked({"w": "red", "x": "blue", "y": None, "a": "B"}, columns=columns)
    assert (kept.choices, kept.answer) == (("red", "blue"), "B")
    assert reason_of({"w": None, "x": "blue", "y": "green", "a": "B"}, columns=columns) == "bad_choices"
