"""Near-duplicates: an alike picture, an alike question and the same answer; the earliest row stays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from mmpr_pipeline.core.records import PresetPair
from mmpr_pipeline.screening import near_duplicates as near
from mmpr_pipeline.screening.likeness import perceptual_hash
from mmpr_pipeline.screening.near_duplicates import (
    IMAGE_WORDS,
    MIN_HASHES,
    ROW,
    Near,
    gathered,
    near_duplicates,
    row_of,
)
from tests.records import a_question

TEXT = "A train leaves the station at nine and runs at sixty kilometres an hour; how far does it get by noon?"


def picture(seed: int, quality: int = 95, size: int = 160) -> bytes:
    """Rectangles at random places, as JPEG."""
    random = np.random.default_rng(seed)
    image = PIL.Image.new("L", (160, 160), 255)
    for x, y, w, h, grey in random.integers(0, 80, (12, 5)).tolist():
        PIL.ImageDraw.Draw(image).rectangle((x * 2, y * 2, x * 2 + w, y * 2 + h), fill=grey * 3)
    file = io.BytesIO()
    image.resize((size, size)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def row(image: bytes, text: str = TEXT, **fields: Any) -> bytes | None:
    return row_of(a_question(text=text, **fields), perceptual_hash(image))


def earlier(*rows: bytes | None) -> list[int]:
    return found(*gathered(rows)).earlier.tolist()


def found(rows: np.ndarray, there: np.ndarray, image_bits: int = 16, likeness: float = 0.8) -> Near:
    at = np.flatnonzero(there)
    parts = [(part, rows[part]) for part in np.array_split(at, 3)]
    return near_duplicates(parts, len(rows), image_bits=image_bits, likeness=likeness)


def test_a_picture_encoded_anew_with_the_same_question_is_a_near_duplicate_of_the_earliest() -> None:
    first, again, small = (row(picture(1, quality, size)) for quality, size in ((95, 160), (60, 160), (80, 120)))
    assert earlier(first, row(picture(2)), again, small) == [-1, -1, 0, 0]


def test_another_wording_of_few_words_is_alike_and_another_question_is_not() -> None:
    # One word of twenty changed leaves 15 of 21 word triples: below the likeness of 0.8.
    longer = f"{TEXT} {TEXT.replace('train', 'tram')} {TEXT.replace('noon', 'three')}"
    assert earlier(row(picture(1), longer), row(picture(1), longer + " Say it.")) == [-1, 0]
    assert earlier(row(picture(1)), row(picture(1), "What colour is the largest of all the rectangles here?")) == [
        -1,
        -1,
    ]


def test_the_same_words_with_another_answer_are_another_question() -> None:
    assert earlier(row(picture(1)), row(picture(1), answer="4")) == [-1, -1]
    assert earlier(row(picture(1), answer="Yes"), row(picture(1), answer=" yes ")) == [-1, 0]


def test_questions_without_a_picture_are_like_none() -> None:
    nothing = row_of(a_question(text=TEXT), None)
    assert nothing is None
    assert earlier(nothing, nothing, row(picture(1))) == [-1, -1, -1]


def test_a_row_is_dropped_only_for_one_that_is_kept() -> None:
    """a is like b and b like c, but a is not like c: b goes, c stays."""
    rows: np.ndarray = np.zeros(3, ROW)
    rows["image"][1, 0] = 0b1111
    rows["image"][2, 0] = 0b11111111
    near = found(rows, np.ones(3, bool), image_bits=4, likeness=1.0)
    assert near.earlier.tolist() == [-1, 0, -1]
    assert near.bits.tolist() == [0, 4, 0]


def test_rows_that_are_not_compared_are_like_none() -> None:
    near = found(np.zeros(4, ROW), np.array([False, True, True, False]))
    assert near.earlier.tolist() == [-1, -1, 1, -1]


def test_the_letter_of_a_choice_counts_as_its_text() -> None:
    asked = {"kind": "choice", "choices": ("red", "blue", "green"), "answer": "B"}
    first = row(picture(1), **asked)
    assert earlier(first, row(picture(1, 60), **{**asked, "answer": "A"})) == [-1, -1]
    turned = {"kind": "choice", "choices": ("red", "green", "blue"), "answer": "C"}
    longer = " ".join(TEXT.replace("train", thing) for thing in ("train", "tram", "bus", "ferry", "cart"))
    assert earlier(row(picture(1), longer, **asked), row(picture(1, 60), longer, **turned)) == [-1, 0]


def test_rows_that_bring_other_responses_are_no_near_duplicates() -> None:
    pairs = [PresetPair(chosen=chosen, rejected="2") for chosen in ("1", "3", "1")]
    assert earlier(*(row(picture(1), preset=pair) for pair in pairs)) == [-1, -1, 0]


def many(rows: int, seed: int) -> np.ndarray:
    """Rows of few pictures, wordings and answers, so that many are alike and many nearly so."""
    random = np.random.default_rng(seed)
    made: np.ndarray = np.zeros(rows, ROW)
    made["image"] = random.integers(0, 2**32, (9, IMAGE_WORDS), np.uint32)[random.integers(0, 9, rows)]
    made["text"] = random.integers(0, 2**32, (5, MIN_HASHES), np.uint32)[random.integers(0, 5, rows)]
    made["same"] = random.integers(0, 4, rows)
    made["image"][np.arange(rows), random.integers(0, IMAGE_WORDS, rows)] ^= random.integers(0, 2**9, rows, np.uint32)
    made["text"][np.arange(rows), random.integers(0, MIN_HASHES, rows)] ^= np.uint32(1)
    return made


def test_what_is_found_does_not_depend_on_files_or_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = many(300, 1)
    whole = found(rows, np.ones(300, bool))
    assert 50 < (whole.earlier >= 0).sum() < 300
    for files, part, chunk in ((1, 1 << 18, 1 << 16), (3, 40, 16)):
        monkeypatch.setattr(near, "FILES", files)
        monkeypatch.setattr(near, "PART", part)
        monkeypatch.setattr(near, "_CHUNK", chunk)
        again = found(rows, np.ones(300, bool))
        assert np.array_equal(again.earlier, whole.earlier)
        assert np.array_equal(again.bits, whole.bits)
        assert np.array_equal(again.likeness, whole.likeness)


def test_every_dropped_row_is_alike_and_every_kept_one_that_is_near_the_first_is_not() -> None:
    """Against the rule written out: the pairs that the search names are alike, and no chain begins at a dropped row."""
    rows = many(300, 2)
    near = found(rows, np.ones(300, bool))
    for later, first in enumerate(near.earlier.tolist()):
        if first >= 0:
            bits = int(np.bitwise_count(rows["image"][first] ^ rows["image"][later]).sum())
            agreeing = (rows["text"][first] == rows["text"][later]).mean()
            assert first < later
            assert near.earlier[first] == -1
            assert bits == near.bits[later] <= 16
            assert agreeing == near.likeness[later] >= 0.8
            assert rows["same"][first] == rows["same"][later]
