"""Near-duplicates: an alike picture, an alike question and the same answer; the earliest row stays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

from mmpr_pipeline.screening.near import ROW, gathered, near_duplicates, row_of
from mmpr_pipeline.screening.phash import perceptual_hash
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
    kept, there = gathered(rows)
    return near_duplicates(kept, there, image_bits=16, likeness=0.8).earlier.tolist()


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
    near = near_duplicates(rows, np.ones(3, bool), image_bits=4, likeness=1.0)
    assert near.earlier.tolist() == [-1, 0, -1]
    assert near.bits.tolist() == [0, 4, 0]


def test_rows_that_are_not_valid_are_like_none() -> None:
    rows: np.ndarray = np.zeros(4, ROW)
    near = near_duplicates(rows, np.array([False, True, True, False]), image_bits=16, likeness=0.8)
    assert near.earlier.tolist() == [-1, -1, 1, -1]
