"""The shipped checkpoint: small, complete, loads in transformers, sees, and answers in the form asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mmpr_pipeline.nano
from mmpr_pipeline.models.torchvision_cpu import install
from mmpr_pipeline.nano.batches import LessonEncoder
from mmpr_pipeline.nano.lessons import lesson, lesson_prompt
from mmpr_pipeline.nano.measure import final_answer, is_right
from mmpr_pipeline.nano.sample import Request, by_transformers
from mmpr_pipeline.rollouts.prompts import TEMPLATES, without_images
from mmpr_pipeline.sources.generated.scenes import png, scene_and_question

CHECKPOINT = Path(mmpr_pipeline.nano.__file__).parent / "checkpoint"


@pytest.fixture(scope="module")
def processor():  # type: ignore[no-untyped-def]
    install()
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(CHECKPOINT)


def test_it_is_small_and_says_how_it_was_made() -> None:
    size = sum(path.stat().st_size for path in CHECKPOINT.iterdir())
    assert size < 8e6
    made = json.loads((CHECKPOINT / "learning_curve.json").read_text())
    assert made["curve"][-1]["step"] == made["plan"]["stop"]
    assert made["curve"][-1]["response_nats"] < 0.5


def test_any_text_survives_the_tokenizer(processor) -> None:  # type: ignore[no-untyped-def]
    texts = ["最终答案：答案 §é\t  x\n\n", "\\boxed{-3.5}", *(template.suffix for template in TEMPLATES.values())]
    for text in [*texts, lesson(0, 1).response]:
        assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) == text


def test_digits_are_single_tokens(processor) -> None:  # type: ignore[no-untyped-def]
    assert len(processor.tokenizer("1847 + 135").input_ids) == 8


def test_training_wrote_chats_as_the_processor_does(processor) -> None:  # type: ignore[no-untyped-def]
    world, item = scene_and_question("nano_grid", "heldout", 0, 0)
    turn = lesson_prompt(item, "cot-final")
    content = [{"type": "image"}, {"type": "text", "text": turn.removeprefix("<image>")}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    ids = processor(images=world.draw(), text=text)["input_ids"][0]
    assert list(ids) == LessonEncoder(processor.tokenizer).prompt(turn)


def test_pictures_become_the_tensors_that_it_was_trained_on(processor) -> None:  # type: ignore[no-untyped-def]
    import torch

    from mmpr_pipeline.nano.batches import picture_tensor

    world, _ = scene_and_question("nano_chart", "heldout", 0, 0)
    pixels = processor(images=world.draw(), text="<IMG_CONTEXT>", return_tensors="pt")["pixel_values"]
    assert torch.allclose(pixels[0], picture_tensor(world), atol=1e-6)


def test_greedy_answers_are_well_formed_and_often_right() -> None:
    drawn = [scene_and_question(source, "heldout", 7, n) for source in ("nano_grid", "nano_geometry") for n in range(8)]
    requests = [Request(lesson_prompt(item, "cot-final"), png(world)) for world, item in drawn]
    answers = [each[0] for each in by_transformers(CHECKPOINT, requests, 1, 0.0)]
    assert all(answer.finished and final_answer(answer.text, "cot-final") for answer in answers)
    right = [is_right(item, answer.text, "cot-final") for (_, item), answer in zip(drawn, answers, strict=True)]
    assert sum(right) >= 5  # guessing would get about three of sixteen


def test_a_given_start_is_continued_with_and_without_the_picture() -> None:
    world, item = scene_and_question("nano_describe", "heldout", 0, 2)
    turn, start = lesson_prompt(item, "open"), "The picture shows a red circle at the top left, a"
    seen = by_transformers(CHECKPOINT, [Request(turn, png(world), start)], 1, 0.0)[0][0]
    blind = by_transformers(CHECKPOINT, [Request(without_images(turn), None, start)], 1, 0.0)[0][0]
    assert (seen.finished, blind.finished) == (True, True)
    assert [text[-1] for text in (seen.text, blind.text)] == [".", "."]
    assert seen.text != blind.text
