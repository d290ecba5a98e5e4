"""`mmpr sources add` on layouts as people have them: the guess has to give the right questions, not only to run."""

from __future__ import annotations

import base64
import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
import yaml

from mmpr_pipeline.core.errors import ConfigError, SourceError
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.adding import Draft, draft_source
from mmpr_pipeline.sources.declaration.schema import load_declaration
from mmpr_pipeline.sources.review.checks import check_source
from mmpr_pipeline.sources.review.findings import Checked
from tests.sources.made import png_bytes

Rows = list[dict[str, Any]]
COLOURS = ["red", "blue", "green", "grey"]


def rows(count: int = 12, image: str = "images/{}.png") -> Rows:
    """Plain questions: a number each."""
    return [
        {"qid": f"q{i}", "query": f"How many dots are in {i}?", "img": image.format(i), "label": str(i % 5)}
        for i in range(count)
    ]


def lines(path: Path, made: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, made)), "utf-8")
    return path


def images(folder: Path, count: int = 12, name: str = "{}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / name.format(i)).write_bytes(png_bytes(i, (40, 30)))


def drafted(target: Path, tmp_path: Path, **more: Any) -> tuple[Draft, list[Question]]:
    """The draft, written and read back; every row of it has to become a question whose gold is accepted."""
    out = tmp_path / "out" / "guess.yaml"
    out.parent.mkdir(exist_ok=True)
    draft = draft_source(str(target), out=out, **more)
    draft.write()
    assert load_declaration(out) == draft.declaration
    checked = checked_of(out)
    assert checked.rejects == []
    assert checked.accepted == checked.answered
    return draft, [question for _, question in checked.questions]


def checked_of(out: Path) -> Checked:
    return check_source(open_source(str(out)), 0)


def test_json_lines_beside_a_folder_of_images(tmp_path: Path) -> None:
    images(tmp_path / "data" / "images")
    draft, questions = drafted(lines(tmp_path / "data" / "rows.jsonl", rows()), tmp_path)
    told = draft.declaration
    columns = told.columns
    assert (columns.id, columns.question, columns.image, columns.answer) == ("qid", "query", "img", "label")
    assert (told.kind, told.files, told.name) == ("number", ("../data/rows.jsonl",), "guess")
    assert questions[7].images[0].data == png_bytes(7, (40, 30))
    assert not draft.doubts


@pytest.mark.parametrize(
    ("pattern", "placed", "root"),
    [("{}.png", "pictures/{}.png", "data/pictures"), ("images/{}.png", "train/images/{}.png", "data/train")],
)
def test_a_folder_whose_images_lie_below_another_one(pattern: str, placed: str, root: str, tmp_path: Path) -> None:
    made = rows(image=pattern)
    lines(tmp_path / "data" / "questions" / "rows.jsonl", made)
    images((tmp_path / "data" / placed).parent)
    draft, questions = drafted(tmp_path / "data", tmp_path)
    assert draft.declaration.image_root == f"../{root}"
    assert questions[3].images[0].data == png_bytes(3, (40, 30))


def test_a_folder_with_a_zip_of_the_images(tmp_path: Path) -> None:
    made = rows()
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "data" / "train.parquet")
    with zipfile.ZipFile(tmp_path / "data" / "images.zip", "w") as archive:
        for i in range(12):
            archive.writestr(f"images/{i}.png", png_bytes(i, (40, 30)))
    draft, questions = drafted(tmp_path / "data", tmp_path)
    assert draft.declaration.archives == ("../data/images.zip",)
    assert questions[3].images[0].data == png_bytes(3, (40, 30))


def test_images_named_by_a_number_that_the_rows_give(tmp_path: Path) -> None:
    made = [{"question": f"What is {i}?", "image_id": i, "answer": "a cat"} for i in range(8)]
    made[0]["answer"] = "a dog"
    lines(tmp_path / "data" / "rows.jsonl", made)
    images(tmp_path / "data" / "val2014", 8, "{:012d}.png")
    draft, questions = drafted(tmp_path / "data", tmp_path)
    assert draft.declaration.columns.image_path == "val2014/{image_id:012d}.png"
    assert questions[3].images[0].data == png_bytes(3, (40, 30))


def test_shards_become_one_pattern_and_other_files_stay_out(tmp_path: Path) -> None:
    images(tmp_path / "data" / "images")
    for shard in range(3):
        lines(tmp_path / "data" / f"train-{shard:05d}-of-00003.jsonl", rows()[shard * 4 : shard * 4 + 4])
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps({"description": "x" * 9000}))
    draft, questions = drafted(tmp_path / "data", tmp_path)
    assert draft.declaration.files == ("../data/train-*.jsonl",)
    assert len(questions) == 12


def test_parquet_with_structs_choices_as_letters_and_a_kind_by_column(tmp_path: Path) -> None:
    made = [
        {
            "pid": str(i),
            "question": f"Which colour has {i}?",
            "image": f"images/{i}.jpg",
            "decoded_image": {"bytes": png_bytes(i, (40, 30)), "path": None},
            "choices": COLOURS if i % 2 else None,
            "answer": "ABCD"[i % 4] if i % 2 else str(i),
            "question_type": "multi_choice" if i % 2 else "free_form",
            "metadata": {"language": "english", "split": "testmini"},
        }
        for i in range(20)
    ]
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "testmini.parquet")
    draft, questions = drafted(tmp_path / "testmini.parquet", tmp_path)
    told = draft.declaration
    assert told.columns.image == "decoded_image"
    assert [rule.values for rule in told.kind_rules()] == [{"free_form": "number", "multi_choice": "choice"}]
    assert told.answer_form == "letter"
    assert [question.answer for question in questions[:4]] == ["0", "B", "2", "D"]


@pytest.mark.parametrize(
    ("golds", "form", "doubtful"),
    [
        (["A", "c", "(B)", "D."], "letter", False),
        ([0, 1, 2, 3], "index", False),
        ([1, 2, 3, 4], "index1", False),
        ([1, 2, 3, 2], "index", True),
        (["blue", "red", "Grey", "green"], "text", False),
        (["B. blue", "A. red", "D. grey", "C. green"], "text", False),
    ],
)
def test_every_form_of_gold(golds: list[Any], form: str, doubtful: bool, tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"question": f"{i}?", "image": f"images/{i % 12}.png", "options": COLOURS, "answer": golds[i % 4]}
            for i in range(16)]  # fmt: skip
    draft, questions = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert draft.declaration.answer_form == form
    assert any("answer_form" in doubt for doubt in draft.doubts) == doubtful
    wanted = {"letter": "ACBD", "index": "ABCD", "index1": "ABCD", "text": "BADC"}[form]
    if not doubtful:
        assert sorted({question.answer or "" for question in questions}) == sorted(wanted)


def test_a_vlmevalkit_table(tmp_path: Path) -> None:
    raw = base64.b64encode(png_bytes(1, (40, 30))).decode()
    with (tmp_path / "bench.tsv").open("w", newline="") as out:
        table = csv.writer(out, delimiter="\t")
        table.writerow(["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image"])
        for i in range(6):
            hint = "Read the passage about colours first." if i % 2 else ""
            table.writerow([i, f"Colour {i}?", hint, "red", "blue", "green" if i % 2 else "", "", "B", "colour", raw])
    draft, questions = drafted(tmp_path / "bench.tsv", tmp_path)
    assert draft.declaration.columns.choices == ("A", "B", "C", "D")
    assert draft.declaration.columns.context == "hint"
    assert [len(question.choices) for question in questions[:2]] == [2, 3]
    assert (questions[0].answer, questions[0].images[0].width) == ("B", 40)


def test_a_tar_of_webdataset(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(10):
            told = {"question": f"What is {i}?", "answer": f"word{i}"}
            image = {"png" if i % 2 else "jpg": png_bytes(i, (40, 30))}
            writer.write({"__key__": f"{i:04d}", "json": told, **image})
    draft, questions = drafted(tmp_path / "a.tar", tmp_path)
    columns = draft.declaration.columns
    assert (columns.image, columns.question, columns.answer) == ("jpg;png", "json.question", "json.answer")
    assert (columns.id, draft.declaration.kind) == ("__key__", "text")
    assert len(questions) == 10


LLAVA = [
    {"from": "human", "value": "<image>\nWhat is number {}?"},
    {"from": "gpt", "value": "A cat{}."},
    {"from": "human", "value": "Is {} black?"},
    {"from": "gpt", "value": "Dog{}."},
]


def filled(turns: list[dict[str, str]], number: int) -> list[dict[str, str]]:
    return [{key: value.format(number) for key, value in turn.items()} for turn in turns]


def test_a_llava_conversation_file_of_one_list(tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"id": f"x{i}", "image": f"images/{i}.png", "conversations": filled(LLAVA, i)} for i in range(6)]
    (tmp_path / "chat.json").write_text(json.dumps(made))
    draft, questions = drafted(tmp_path / "chat.json", tmp_path)
    assert draft.declaration.columns.turns == "conversations"
    assert [question.source_id for question in questions[:3]] == ["x0#1", "x0#2", "x1#1"]
    assert [question.answer for question in questions[:2]] == ["A cat0", "Dog0"]
    assert any("earlier" in doubt for doubt in draft.doubts)


def cauldron(row: int) -> dict[str, Any]:
    texts = [{"user": f"What is {row}.{i}?", "assistant": f"thing {row}{i}", "source": "x"} for i in range(3)]
    return {"images": [{"bytes": png_bytes(row, (40, 30)), "path": None}], "texts": texts}


def several(row: int) -> dict[str, Any]:
    pairs = [{"question": f"{row}.{i}?", "answer": f"{row}.{i}", "id": f"{row}-{i}"} for i in range(3)]
    return {"image": {"bytes": png_bytes(row, (40, 30)), "path": None}, "qa_pairs": pairs}


def parallel(row: int) -> dict[str, Any]:
    asked = [f"{row}.{i}?" for i in range(3)]
    image = {"bytes": png_bytes(row, (40, 30)), "path": None}
    return {"image": image, "questions": asked, "answers": [f"{row}.{i}" for i in range(3)]}


@pytest.mark.parametrize(("make", "ids"), [(cauldron, None), (several, "qa_pairs.id"), (parallel, None)])
def test_rows_of_several_questions(make: Callable[[int], Any], ids: str | None, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([make(row) for row in range(8)]), tmp_path / "a.parquet")
    draft, questions = drafted(tmp_path / "a.parquet", tmp_path)
    assert len(questions) == 24
    assert len({question.answer for question in questions}) == 24
    assert draft.declaration.columns.id == ids


def test_images_in_lists_and_in_numbered_columns(tmp_path: Path) -> None:
    image = {"bytes": png_bytes(1, (40, 30)), "path": None}
    other = {"bytes": png_bytes(2, (40, 30)), "path": None}
    made: Rows = [{"question": f"{i}?", "answer": f"{i}", "image_1": image, "image_2": other} for i in range(4)]
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "a.parquet")
    draft, questions = drafted(tmp_path / "a.parquet", tmp_path)
    assert draft.declaration.columns.image == ("image_1", "image_2")
    assert len(questions[0].images) == 2


def test_mmpr_prompts_with_several_images_and_marks(tmp_path: Path) -> None:
    images(tmp_path / "images")
    asked = "Image-1: <image>\nImage-2: <image>\nAre they equal?"
    made = [{"image": [f"images/{i}.png", f"images/{i + 1}.png"], "question": asked, "answer": ["yes", "no"][i % 2]}
            for i in range(8)]  # fmt: skip
    draft, questions = drafted(lines(tmp_path / "prompts.jsonl", made), tmp_path)
    assert (draft.declaration.columns.images, draft.declaration.kind) == ("image", "yes_no")
    assert questions[0].text.count("<image>") == len(questions[0].images) == 2


@pytest.mark.parametrize(
    ("golds", "kind"),
    [
        (["yes", "No"], "yes_no"),
        (["A", "(c)"], "choice"),
        ([1, 2.5], "number"),
        (["$12", "1,200"], "number"),
        (["\\frac{1}{2}", "3"], "math"),
        (["[1, 2]", "[3]"], "list"),
        (["red", "Coca Cola"], "text"),
        (
            ["So " + "it is a chart that shows many things, " * 4, "There " + "are two lines and a bar in it " * 5],
            "none",
        ),
        ([["cat", "cats"], ["dog"]], "text"),
    ],
)
def test_every_kind_of_answer(golds: list[Any], kind: str, tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"question": f"{i}?", "image": f"images/{i}.png", "answers": golds[i % 2]} for i in range(12)]
    draft, questions = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert draft.declaration.kind == kind
    if isinstance(golds[0], list):
        assert questions[0].answers == ("cats",)


def test_a_worked_solution_is_cut_down_to_its_answer(tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{"question": f"{i}?", "image": f"images/{i}.png", "answer": f"We count. So there.\nThe answer is {i}."}
            for i in range(9)]  # fmt: skip
    draft, questions = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    assert draft.declaration.columns.answer_after == "The answer is"
    assert (draft.declaration.kind, questions[4].answer) == ("number", "4")


def test_chinese_questions_and_charts_are_noticed(tmp_path: Path) -> None:
    images(tmp_path / "chartqa" / "images")
    made = [{"question": f"图中有多少个 {i} 号点？", "image": f"images/{i}.png", "answer": i} for i in range(9)]
    draft, _ = drafted(lines(tmp_path / "chartqa" / "chartqa.jsonl", made), tmp_path)
    assert (draft.declaration.language, draft.declaration.kind, draft.declaration.tiles) == ("zh", "chart", 12)


def test_json_lines_called_json(tmp_path: Path) -> None:
    images(tmp_path / "images")
    lines(tmp_path / "rows.json", rows())
    draft, questions = drafted(tmp_path / "rows.json", tmp_path)
    assert draft.declaration.format == "jsonl"
    assert len(questions) == 12


def test_hosts_of_urls_are_named_and_not_fetched_from(tmp_path: Path) -> None:
    made = rows(image="https://images.example.com/{}.png")
    path = lines(tmp_path / "rows.jsonl", made)
    draft = draft_source(str(path), out=tmp_path / "a.yaml")
    assert draft.declaration.image_hosts == ()
    assert "images.example.com" in " ".join(draft.doubts)
    assert {item.reason for _, item in check_source(draft.source).items if isinstance(item, Reject)} == {"image_url"}
    allowed = draft_source(str(path), out=tmp_path / "b.yaml", hosts=("images.example.com",))
    assert allowed.declaration.image_hosts == ("images.example.com",)


def test_what_is_said_wins_over_what_is_guessed(tmp_path: Path) -> None:
    images(tmp_path / "images")
    made = [{**row, "answer": "wrong", "other": f"{i}"} for i, row in enumerate(rows())]
    path = lines(tmp_path / "rows.jsonl", made)
    draft, questions = drafted(
        path, tmp_path, columns={"answer": "other", "kind": "math", "language": "zh"}, name="mine"
    )
    assert (draft.declaration.columns.answer, draft.declaration.kind, draft.declaration.name) == (
        "other",
        "math",
        "mine",
    )
    assert questions[4].answer == "4"
    assert questions[4].language == "zh"


def test_every_line_says_why_and_hostile_names_stay_text(tmp_path: Path) -> None:
    images(tmp_path / "images")
    nasty = "answer\n# kind: none\nname: stolen"
    made = [{"question": f"{i}?", "image": f"images/{i}.png", "answer": i, "licence": nasty} for i in range(5)]
    draft, _ = drafted(lines(tmp_path / "rows.jsonl", made), tmp_path)
    data = yaml.safe_load(draft.text)
    assert (data["name"], data["kind"], data["licence"]) == ("guess", "number", nasty)
    told = [line for line in draft.text.splitlines() if line.startswith("  ")]
    assert told
    assert all("  # " in line for line in told)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", rows())
    (tmp_path / "a.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        draft_source(str(path), out=tmp_path / "a.yaml")
    draft = draft_source(str(path), out=tmp_path / "b.yaml")
    (tmp_path / "b.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="Cannot write"):
        draft.write()
    assert (tmp_path / "b.yaml").read_text() == "mine"


def test_what_cannot_be_added_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    images(tmp_path / "only" / "images")
    (tmp_path / "zero.jsonl").write_text("\n\n")
    (tmp_path / "rows.xyz").write_text("a")
    (tmp_path / "a.zip").write_bytes(b"PK")
    lines(tmp_path / "dull.jsonl", [{"a1": i, "b1": i} for i in range(5)])
    for name, told in [
        ("empty", "no file of rows"), ("only", "no file of rows"), ("zero.jsonl", "no rows"), ("rows.xyz", "No format"),
        ("a.zip", "No format"),
    ]:  # fmt: skip
        with pytest.raises(SourceError, match=told) as caught:
            draft_source(str(tmp_path / name), out=tmp_path / "x.yaml")
        assert caught.value.remedy
    with pytest.raises(ConfigError, match="a1, b1") as refused:
        draft_source(str(tmp_path / "dull.jsonl"), out=tmp_path / "x.yaml")
    assert "--column question=" in str(refused.value)
    with pytest.raises(ConfigError, match="no file or folder"):
        draft_source(str(tmp_path / "nowhere"), out=tmp_path / "x.yaml")


@pytest.mark.parametrize("name", ["nlvr", "puzzlevqa", "easyvqa", "opencqa", "mathvision"])
def test_the_real_folders_are_guessed_as_they_were_declared(name: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / ("mathvision/questions.jsonl" if name == "mathvision" else f"vqa/{name}")
    draft = draft_source(str(folder), out=tmp_path / "a.yaml")
    draft.write()
    checked = checked_of(tmp_path / "a.yaml")
    ours = check_source(open_source(f"examples/sources/{name}.yaml", shared_data), 0)
    assert len(checked.questions) >= len(ours.questions) - 1
    assert checked.accepted >= 0.97 * checked.answered
    golds = {item.source_id: item.answer for _, item in ours.questions}
    same = [golds.get(item.source_id) == item.answer for _, item in checked.questions]
    assert sum(same) >= (0 if name == "opencqa" else 0.95 * len(same))
