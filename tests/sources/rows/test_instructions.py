"""Instructions taken off questions: those of released data in both languages, and nothing that is asked itself."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.rollouts.prompts import TEMPLATES
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.rows.instructions import strip_instruction
from mmpr_pipeline.sources.rows.mapping import question_from_row

ASKED = "In the figure, AB = 3.5 cm. What is the length of BC?"
ASKED_ZH = "如图，AB∥CD，∠1=50°，则∠2的度数是()"
TAILS = [
    "Answer the question using a single word or phrase.",
    "Answer with the option's letter from the given choices directly.",
    "Please answer with the option's letter from the given choices directly.",
    "Please answer Yes or No.",
    "Answer the question with Yes or No.",
    "Please give a short answer.",
    "Please answer the question and provide the correct option letter at the end.",
    "Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.",
    "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the "
    "end.",
    "Please directly answer the question and provide the final value, e.g., 1, 2.5, 300.",
    "Please first conduct reasoning, and then answer the question and provide the correct option letter, e.g., A, B, "
    "C, D, at the end.",
    "Please answer the question and put the final answer within \\boxed{}.",
    "Please reason step by step, and put your final answer within \\boxed{}.",
    'Please solve the problem step by step and put your answer in one "\\boxed{}". If it is a multiple choice '
    'question, only one letter is allowed in the "\\boxed{}".',
    "You FIRST think about the reasoning process as an internal monologue and then provide the final answer. The "
    "reasoning process MUST BE enclosed within <think> </think> tags. The final answer MUST BE put in \\boxed{}.",
    "Output the thinking process in <think> </think> and final answer (number) in <answer> </answer> tags.",
    "Please try to answer the question with short words or phrases if possible.",
    "Answer this question using the text in the image directly.",
    "Let's think step by step.",
    "Answer with the letter.",
    "Short answer required.",
    "Keep it short and to the point.",
    "Give a very brief answer.",
    "Quick response, please.",
]
TAILS_ZH = [
    "请直接回答选项字母。",
    "请直接回答问题。",
    "请直接给出答案。",
    "请用一个单词或短语回答该问题。",
    "请一步一步推理，并将最终答案放在\\boxed{}中。",
    "请回答问题，并在最后给出正确选项的字母。",
    "提示：请回答问题并提供正确的选项字母，例如A、B、C、D，在最后。",
    "请详细回答这个问题并将最终答案用\\boxed{}包住。",
    "让我们一步一步地思考。",
]
HEADS = [
    "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.\nQuestion: ",
    "First perform reasoning, then finally select the question from the choices in the following format: Answer: xxx.\n"
    "Question: ",
    "Your task is to answer the question below. Give step by step reasoning before you answer, and when you're ready "
    'to answer, please use the format "Final answer: .."\n\nQuestion:\n\n',
    "你的任务是回答以下问题。在回答之前，请逐步推理说明您的思路。"
    '当你准备好给出答案时，请使用以下格式："答案: ..."\n\n问题:\n\n',
    "Think step by step. ",
]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("before", ["", "<image>\n"])
def test_an_instruction_at_the_end_goes(tail: str, before: str) -> None:
    for gap in ("\n", " "):
        found = strip_instruction(f"{before}{ASKED}{gap}{tail}")
        assert found.text == f"{before}{ASKED}"
        assert found.instruction.split() == tail.split()


@pytest.mark.parametrize("tail", TAILS_ZH)
def test_a_chinese_instruction_at_the_end_goes(tail: str) -> None:
    for gap in ("\n", ""):
        assert strip_instruction(f"{ASKED_ZH}{gap}{tail}").text == ASKED_ZH


@pytest.mark.parametrize("head", HEADS)
def test_an_instruction_at_the_start_goes_with_its_label(head: str) -> None:
    found = strip_instruction(f"<image>\n{head}{ASKED}\nChoices:\n(A) 3\n(B) 4")
    assert found.text == f"<image>\n{ASKED}\nChoices:\n(A) 3\n(B) 4"
    assert found.instruction.split() == head.split()


def test_choices_stay_and_so_does_an_image_at_the_end() -> None:
    listed = f"{ASKED}\nA. 3\nB. 4\n"
    assert strip_instruction(f"{listed}{TAILS[1]}").text == listed.strip()
    assert strip_instruction(f"{ASKED} {TAILS[0]}\n<image>").text == f"{ASKED}\n<image>"


@pytest.mark.parametrize(
    "text",
    [
        *TAILS,
        *TAILS_ZH,
        f"<image>\n{TAILS[0]}",
        "Which animal thinks step by step?",
        "What does the sign say people should answer directly?",
        "Please answer the question that the teacher asked",
        "According to the question shown in the image, please directly answer the question and give the value.",
        "Round your answer to two decimal places. What is x?",
        "If the text is not in the picture, answer Unanswerable. What brand is it?",
        "请问图中直接回答问题的人是谁？",
        "",
        "<image>",
    ],
)
def test_what_is_asked_stays(text: str) -> None:
    assert strip_instruction(text).text == text
    assert not strip_instruction(text).instruction


@pytest.mark.parametrize("template", [t for t in TEMPLATES.values() if t.suffix], ids=lambda t: t.label)
def test_our_own_instructions_go_too(template: object) -> None:
    """A question that was exported and comes back as a source is not asked twice over."""
    suffix = getattr(template, "suffix", "")
    assert strip_instruction(f"{ASKED}\n{suffix}").text == ASKED


def test_decimals_that_a_hint_asks_for() -> None:
    hint = "Hint: Please answer the question requiring a floating-point number with {} decimal place{} and provide the "
    hint += "final value, e.g., 1.2, 1.3, 1.4, at the end.\nQuestion: "
    data = {"name": "s", "description": "d", "files": "x.jsonl", "kind": "number", "text_only": True}
    declaration = SourceDeclaration.model_validate({**data, "columns": {"question": "q", "answer": "a"}})

    def asked(text: str) -> Question:
        return question_from_row(declaration, {"q": text, "a": "1.2"}, "1", lambda reference: reference)

    found = asked(hint.format("one", "") + ASKED)
    assert (found.text, found.precision) == (ASKED, 1.0)
    assert asked(hint.format("two", "s") + ASKED).precision == 2.0
    assert asked(f"{ASKED}\n{TAILS[6]}").precision is None


@given(st.text(max_size=300), st.sampled_from(["", *TAILS, *TAILS_ZH, *HEADS]), st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost_and_once_is_enough(before: str, instruction: str, after: str) -> None:
    text = f"{before}\n{instruction}\n{after}".replace("<image>", "")
    found = strip_instruction(text)
    assert sorted("".join(text.split())) == sorted("".join((found.text + found.instruction).split()))
    assert strip_instruction(found.text).text == found.text


@pytest.mark.parametrize(
    "text",
    [
        "a. " * 33_000,
        "请" * 100_000,
        "answer " * 14_000,
        "please answer the question and provide the " * 2_300,
        " " * 99_000,
        "<image>" * 14_000,
        "\n" * 99_000,
        "(" * 99_000,
        "\\boxed{}" * 12_000,
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    started = time.process_time()
    strip_instruction(text)
    assert time.process_time() - started < 1
