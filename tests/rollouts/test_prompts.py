from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Prompting
from mmpr_pipeline.rollouts.prompts import (
    IMAGE_MARK,
    TEMPLATES,
    THINKS,
    PromptTemplate,
    prompt_for,
    prompt_text,
    template_for,
    with_own_prompt,
    without_images,
)
from tests.engines.contract import an_image
from tests.records import a_question


def turn(style: str = "cot-final", **fields: Any) -> str:
    question = a_question(**fields)
    return prompt_text(question, template_for(question, style))


def test_image_question_and_instruction_in_order() -> None:
    assert turn(images=(an_image(),)) == (
        "<image>\nHow many circles are there?\n"
        "Think step by step, then end with a line of the form: Final answer: ANSWER"
    )


def test_choices_are_lettered() -> None:
    text = turn(kind="choice", choices=("red", "blue"), answer="A")
    assert "\n(A) red\n(B) blue\nThink" in text


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [
        ("Compare.", 2, "<image>\n<image>\nCompare."),
        ("Is <image> like <image>?", 2, "Is <image> like <image>?"),
        ("Is <image> like the other?", 2, "<image>\nIs <image> like the other?"),
        ("No picture.", 0, "No picture."),
    ],
)
def test_each_image_has_one_mark(text: str, images: int, expected: str) -> None:
    placed = turn("direct", text=text, images=tuple(an_image(i) for i in range(images)))
    assert placed == f"{expected}\nReply with the answer only."
    assert placed.count(IMAGE_MARK) == images


@pytest.mark.parametrize(
    ("style", "language", "kind", "label"),
    [
        ("cot-final", "en", "number", "cot-final-en@1"),
        ("cot-boxed", "zh", "number", "cot-boxed-zh@1"),
        ("direct", "zh", "choice", "direct-zh@1"),
        ("cot-final", "en", "none", "open-en@1"),
        ("cot-think", "en", "math", "cot-think-en@1"),
        ("cot-think", "zh", "choice", "cot-think-zh@1"),
    ],
)
def test_template_follows_style_language_and_kind(style: str, language: str, kind: str, label: str) -> None:
    answer = None if kind == "none" else "3"
    assert template_for(a_question(language=language, kind=kind, answer=answer), style).label == label


def test_open_ended_questions_are_asked_as_they_are() -> None:
    assert turn(kind="none", answer=None, choices=("a", "b")) == "How many circles are there?"


def test_an_unknown_style_names_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        template_for(a_question(), "haiku")
    assert "cot-boxed, cot-final, cot-think, direct" in (caught.value.remedy or "")


@pytest.mark.parametrize(("language", "label"), [("auto", "direct-zh@1"), ("en", "direct-en@1"), ("zh", "direct-zh@1")])
def test_the_instruction_is_in_the_language_asked_for(language: str, label: str) -> None:
    assert prompt_for(a_question(language="zh"), "direct", language).version == label


def test_only_the_think_style_asks_for_thinking() -> None:
    asking = {template.name for template in TEMPLATES.values() if "<think>" in template.suffix}
    assert asking == {"cot-think-en", "cot-think-zh"}
    assert {name for name in TEMPLATES if name.startswith(THINKS)} == asking


def test_a_source_s_own_instruction_takes_the_place_of_the_template_s() -> None:
    prompting = Prompting(cot="Work it out, then say Answer: X.", direct="One number.", open="In three sentences.")
    question = a_question(prompting=prompting)
    cot, direct = prompt_for(question, "cot-boxed"), prompt_for(question, "direct")
    assert cot.text == "How many circles are there?\nWork it out, then say Answer: X."
    assert direct.text == "How many circles are there?\nOne number."
    assert re.fullmatch(r"cot-boxed-en-test@[0-9a-f]{8}", cot.version)
    assert re.fullmatch(r"direct-en-test@[0-9a-f]{8}", direct.version)
    assert prompt_for(a_question(kind="none", answer=None, prompting=prompting), "direct").text.endswith("sentences.")
    other = a_question(prompting=Prompting(cot="Work it out, then say Answer: Y."))
    assert prompt_for(other, "cot-boxed").version != cot.version


def test_a_source_s_own_style_and_language_hold_but_for_direct_answers() -> None:
    question = a_question(prompting=Prompting(style="cot-think", language="zh"))
    assert prompt_for(question, "cot-final").version == "cot-think-zh@1"
    assert prompt_for(question, "direct", "en").version == "direct-zh@1"


def test_what_was_asked_before_is_asked_in_the_same_words() -> None:
    question = a_question(prompting=Prompting(turn="<image>\nOld words.", label="cot-final-en@0"))
    turn = prompt_for(question, "cot-boxed", "zh")
    assert (turn.text, turn.version) == ("<image>\nOld words.", "cot-final-en@0")
    assert with_own_prompt(question) is question


def test_a_question_may_be_fixed_to_its_own_words_without_an_instruction() -> None:
    fixed = with_own_prompt(a_question(prompting=Prompting(cot="Work it out.")))
    turn = prompt_for(fixed, "cot-final")
    assert (turn.text, turn.version) == (prompt_text(a_question(), TEMPLATES["open-en"]), "preset@1")
    assert fixed.prompting is not None
    assert fixed.prompting.cot == "Work it out."


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_documentation_has_every_instruction_word_for_word(template: PromptTemplate) -> None:
    text = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text("utf-8")
    assert f"`{template.label}`" in text
    assert template.suffix in text


def test_every_template_has_both_languages() -> None:
    names = {name.rsplit("-", 1)[0] for name in TEMPLATES}
    assert {f"{name}-{language}" for name in names for language in ("en", "zh")} == set(TEMPLATES)


@pytest.mark.parametrize(
    ("text", "blind"), [("<image>\nWhat?", "What?"), ("Is <image> like <image>?", "Is  like ?"), ("What?", "What?")]
)
def test_without_images_nothing_of_them_is_left(text: str, blind: str) -> None:
    assert without_images(text) == blind
