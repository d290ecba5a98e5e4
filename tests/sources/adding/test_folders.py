"""`mmpr sources add` on folders as published: questions and golds apart, images named by number, packed files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources.adding import draft_source
from mmpr_pipeline.sources.review.checks import check_source
from tests.sources.adding.test_draft import images, lines

COCO = "COCO_train2014_{:012d}.jpg"


def asked(folder: Path, out: Path) -> tuple[list[Question], dict[str, Any]]:
    """The questions that the declaration drafted of a folder gives, and its columns."""
    draft = draft_source(str(folder), out=out / "drafted.yaml")
    draft.write()
    checked = check_source(draft.source, 0)
    assert not checked.rejects
    return [question for _, question in checked.questions], draft.declaration.columns.model_dump(exclude_none=True)


def vqa(folder: Path, count: int = 12) -> None:
    """VQA's two official files, and images named by padded numbers behind a prefix."""
    questions = [{"image_id": i, "question": f"Is {i} red?", "question_id": 1000 + i} for i in range(count)]
    golds = [
        {
            "question_id": 1000 + i,
            "image_id": i,
            "answer_type": "yes/no",
            "multiple_choice_answer": "yes" if i % 2 else "no",
            "answers": [{"answer": "yes", "answer_confidence": "maybe", "answer_id": n} for n in range(10)],
        }
        for i in range(count)
    ]
    folder.mkdir(parents=True)
    (folder / "v2_questions.json").write_text(json.dumps({"info": {}, "questions": questions}))
    (folder / "v2_annotations.json").write_text(json.dumps({"info": {}, "annotations": golds}))


def test_golds_in_a_second_file_are_joined(tmp_path: Path) -> None:
    vqa(tmp_path / "vqa")
    images(tmp_path / "vqa" / "train2014", name=COCO)
    found, columns = asked(tmp_path / "vqa", tmp_path)
    assert len(found) == 12
    assert [question.answer for question in found[:3]] == ["no", "yes", "no"]
    assert all(question.images for question in found)
    assert columns["image_path"] == "train2014/COCO_train2014_{image_id:012d}.jpg"


def test_a_folder_of_rows_beside_one_of_images(tmp_path: Path) -> None:
    images(tmp_path / "set" / "images")
    made = [{"image_id": str(i), "question": f"How many, {i}?", "answer": str(i)} for i in range(12)]
    lines(tmp_path / "set" / "annotations" / "train.jsonl", made)
    found, _ = asked(tmp_path / "set", tmp_path)
    assert len({question.images[0].sha256 for question in found}) == 12


def test_files_that_are_there_before_urls(tmp_path: Path) -> None:
    images(tmp_path / "textvqa" / "train_images")
    made = [
        {"question_id": i, "question": f"What brand, {i}?", "image_id": str(i), "image_height": 7,
         "flickr_original_url": "https://farm4.example.com/a.jpg", "answers": ["nike"] * 8 + ["adidas"] * 2}
        for i in range(12)
    ]  # fmt: skip
    (tmp_path / "textvqa" / "train.json").write_text(json.dumps({"data": made}))
    found, columns = asked(tmp_path / "textvqa", tmp_path)
    assert (len(found), columns["image_path"]) == (12, "train_images/{image_id}.jpg".replace("jpg", "png"))


def test_the_gold_stands_behind_the_last_mark(tmp_path: Path) -> None:
    images(tmp_path / "geo" / "images")
    said = "Two angles of parallel lines are equal, so the answer is option {0}.\nAnswer:{0}"
    made = [
        {"image": f"images/{i}.png", "conversations": [
            {"from": "human", "value": f"<image>\nHow large is angle {i}?\nChoices:\nA: 40°\nB: 50°"},
            {"from": "gpt", "value": said.format("AB"[i % 2])}]}
        for i in range(12)
    ]  # fmt: skip
    lines(tmp_path / "geo" / "rows.jsonl", made)
    found, _ = asked(tmp_path / "geo", tmp_path)
    assert [(question.kind, question.answer) for question in found[:2]] == [("choice", "A"), ("choice", "B")]


def test_pairs_beside_the_conversation_that_they_end(tmp_path: Path) -> None:
    images(tmp_path / "pairs" / "images")
    made = [
        {"conversations": [{"from": "human", "value": f"<image>What is {i}?"}], "images": [f"images/{i}.png"],
         "chosen": {"from": "gpt", "value": f"A dot, {i}."}, "rejected": {"from": "gpt", "value": f"A cat, {i}."}}
        for i in range(12)
    ]  # fmt: skip
    (tmp_path / "pairs" / "data.json").write_text(json.dumps(made))
    found, _ = asked(tmp_path / "pairs", tmp_path)
    assert (found[3].text, found[3].preset and found[3].preset.chosen) == ("<image>What is 3?", "A dot, 3.")


def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "rows.jsonl.gz").write_bytes(gzip.compress(b'{"question": "Q?", "answer": "1"}\n'))
    with pytest.raises(SourceError, match=r"rows\.jsonl\.gz.*\n.*Unpack it"):
        draft_source(str(tmp_path / "packed"), out=tmp_path / "a.yaml")
    with pytest.raises(SourceError, match="Unpack it"):
        draft_source(str(tmp_path / "packed" / "rows.jsonl.gz"), out=tmp_path / "a.yaml")
    table = "id;question;answer\r\n1;Quelle durée?;n°\r\n"
    (tmp_path / "latin.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(SourceError, match=r"not UTF-8.*\n.*Save the file as UTF-8"):
        draft_source(str(tmp_path / "latin.csv"), out=tmp_path / "a.yaml")
    (tmp_path / "wide.csv").write_bytes(table.encode("utf-16"))
    with pytest.raises(SourceError, match=r"UTF-16.*\n.*UTF-8"):
        draft_source(str(tmp_path / "wide.csv"), out=tmp_path / "a.yaml")
