"""The rule by which a training question counts as one of an evaluation set, case by case."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image as Pillow

from mmpr_pipeline.core.records import Image, Question
from mmpr_pipeline.screening.contamination import EvaluationRows, Hasher, Hit, Sketch, templates
from mmpr_pipeline.screening.settings import ScreeningSettings
from tests.screening.figures import encoded, figure, scene

RULES = ScreeningSettings()
LONG = (
    "As shown in the figure the line AB touches the circle with centre O at the point A and angle OBA is 35 degrees "
    "so how many degrees does the angle AOB measure"
)
BLANK = Pillow.new("RGB", (80, 60), "white")


def sketch(text: str, *pictures: Pillow.Image | bytes, row: int = 0) -> Sketch:
    images = []
    for picture in pictures:
        data = picture if isinstance(picture, bytes) else encoded(picture)
        images.append(Image(sha256=hashlib.sha256(data).hexdigest(), data=data, format="png", width=1, height=1))
    asked = Question(
        question_id="0" * 32, source="eval", source_id=str(row), text=text, images=tuple(images), kind="none"
    )
    return Hasher().sketch(asked, row)


def found(evaluation: list[Sketch], asked: Sketch, rules: ScreeningSettings = RULES) -> Hit | None:
    return EvaluationRows(evaluation, rules).match(asked)


def test_the_same_image_is_contamination_whatever_is_asked() -> None:
    hit = found([sketch("Find x.", figure(1)), sketch("Find y.", figure(2))], sketch("What colour?", figure(2)))
    assert hit == Hit("image", 1, bits=0)


def test_a_scaled_and_encoded_copy_is_the_same_image() -> None:
    copy = figure(2).resize((270, 210), Pillow.Resampling.LANCZOS)
    hit = found([sketch("Find y.", figure(2))], sketch("Something else.", encoded(copy, "JPEG", quality=85)))
    assert hit is not None
    assert hit.measure == "image"
    assert hit.bits is not None
    assert 0 < hit.bits <= RULES.image_bits


def test_one_image_of_several_is_enough() -> None:
    assert found([sketch("Find y.", figure(2))], sketch("Compare.", figure(5), figure(2), figure(9))) is not None


def test_another_figure_with_the_same_short_question_is_none() -> None:
    assert found([sketch("What is the value of x?", figure(1))], sketch("What is the value of x?", figure(2))) is None


def test_a_like_image_counts_with_a_like_question_only() -> None:
    cropped = scene(4).crop((2, 2, 297, 218))
    rules = ScreeningSettings(image_bits=0)
    evaluation = [sketch("How many red shapes are there?", scene(4))]
    hit = found(evaluation, sketch("How many red shapes are there here?", cropped), rules)
    assert hit is not None
    assert hit.measure == "image_and_question"
    assert hit.similarity == pytest.approx(0.8)
    assert found(evaluation, sketch("Is the large one to the left of the blue one?", cropped), rules) is None


def test_a_long_question_decides_alone_a_short_or_changed_one_does_not() -> None:
    evaluation = [sketch(LONG, figure(1))]
    assert found(evaluation, sketch(LONG.upper() + "?", figure(2))) == Hit("question", 0, similarity=1.0)
    assert found(evaluation, sketch(LONG.replace("touches", "crosses").replace("35", "70"), figure(2))) is None


def test_without_a_telling_image_the_same_words_decide() -> None:
    assert found([sketch("Name the capital of France.")], sketch("name the capital of france")) is not None
    assert found([sketch("Name the capital of France.", BLANK)], sketch("Name the capital of France.")) is not None
    assert found([sketch("Name the capital of France.", figure(1))], sketch("Name the capital of France.")) is None
    assert found([sketch("Find it.")], sketch("Find it.")) is None  # two words are a coincidence


def test_blank_images_make_nothing_alike() -> None:
    assert found([sketch("How many dots?", BLANK)], sketch("What is written here?", BLANK)) is None
    assert found([sketch("How many dots?", figure(1))], sketch("What is written here?", BLANK)) is None


def test_no_evaluation_rows_and_no_image_and_no_text() -> None:
    assert found([], sketch(LONG, figure(1))) is None
    assert found([sketch("", BLANK)], sketch("", BLANK)) is None


def test_thresholds_of_zero_leave_only_identical_bytes() -> None:
    rules = ScreeningSettings(image_bits=0, similar_image_bits=0, same_question=1)
    cropped = scene(4).crop((2, 2, 297, 218))
    assert found([sketch("Find x.", scene(4))], sketch("Else.", scene(4)), rules) is not None
    assert found([sketch("Find x.", scene(4))], sketch("Else.", cropped), rules) is None


def test_a_question_may_need_less_likeness_alone_than_beside_an_image() -> None:
    rules = ScreeningSettings(similar_question=1, same_question=0.6)
    asked = sketch(LONG.replace("35", "70"), figure(2))
    assert found([sketch(LONG, figure(1))], asked, rules) is not None
    assert found([sketch(LONG, figure(1))], asked, ScreeningSettings(same_question=1)) is None


def test_a_wording_of_many_questions_is_a_template() -> None:
    against = np.array([3] * 12 + [5] * 12 + [7] * 2)
    keys = np.array([[i, 0] for i in range(12)] + [[1, 0]] * 12 + [[1, 0], [2, 0]], np.uint64)
    assert templates(against, keys, 10).tolist() == [3]
    assert templates(against, keys, 1).tolist() == [3, 7]
    assert templates(against[:0], keys[:0], 10).tolist() == []
