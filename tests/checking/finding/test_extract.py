"""Finding the answer in a whole response, without knowing what is right."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking.case import Asked
from mmpr_pipeline.checking.finding.announcements import boxed_spans
from mmpr_pipeline.checking.finding.extract import extract
from mmpr_pipeline.checking.finding.reply import MAX_CHARS, prepare_reply

LETTERS = Asked("choice", ("red", "blue", "green", "yellow"))
COUNT = Asked("number", question="How many apples are there?")
ANIMAL = Asked("text", question="What animal is in the image?")

WAYS_TO_SAY_B = [
    "Final answer: B", "**Final answer**: B", "Final Answer: **B**", "### Final Answer\n\nB", "Final answer：B",
    "\\boxed{B}", "\\boxed{\\text{(B)}}", "$\\boxed{\\textbf{(B) }blue}$", "the answer is (B)", "Answer: b)",
    "Answer - B",
    "B", "(B)", "B)", "B.", "**B**", "[B]", "Option B", "\\text{B}", "The correct option is B", "B. blue", "(B) blue",
    "blue", "The answer is blue", "答案：B", "【答案】：B", "故选：B", "故选 B。", "所以选B", "因此选择B",
    "正确答案是B选项",
    "选项B正确", "答案是（B）", "综上，选B。", "最终答案：\\boxed{B}", "Thus B is the correct answer.", "I choose B.",
    "<answer>B</answer>", "<think>maybe A</think>B", "Final answer: ②", "Final answer: (ii)", "Final answer: II",
    "Final answer: option 2", "B\n\nThe sky is blue", "So the correct answer is\n\n**B**", "Ｂ", "blue (B)", "#### B",
    "Among the options, B is the right one.", "The color is blue, which corresponds to option B.", "Ans. B",
    "The answer is (A)... no: Final answer: B", "<|begin_of_box|>B<|end_of_box|>", "The best answer is B because "
    "it is.",
    "Let me think. The sky is blue. So the answer is B. I hope this helps!",
]  # fmt: skip
WAYS_TO_SAY_5 = [
    "Final answer: 5", "答案：5", "【答案】5", "最终答案是5。", "所以答案是5个。", "共有5个苹果。",
    "答：共有5个苹果。", "5", "five",
    "The answer is **5**.", "\\[\\boxed{5}\\]", "#### 5", "There are 5 apples.", "$x=5$", "The total is 2 + 3 = 5 "
    "apples.",
    "Answer:\n\n$$5$$", "The final answer is 5. I hope it is correct.", "Final answer: The number of apples is 5.",
    "I count 5 apples: 2 red and 3 green.", "There are 2 red and 3 green apples. In total, there are 5 apples.",
    "So the answer is 5, since 10/2=5.", "Final Answer: \\(\\boxed{5}\\)", "**Answer:** 5\n\n**Explanation:** 10 "
    "by 2.",
    "The number of apples in the image is 5, as 2 are red and 3 are green.", "Result: 5", "<think>6 or 7</think>\n5",
]  # fmt: skip


@pytest.mark.parametrize("response", WAYS_TO_SAY_B)
def test_a_letter_is_found(response: str) -> None:
    found = extract(response, LETTERS)
    assert found.status == "found", found
    assert found.reading is not None
    assert found.reading.choice is not None
    assert found.reading.choice.letters == "B"


@pytest.mark.parametrize("response", WAYS_TO_SAY_5)
def test_a_number_is_found(response: str) -> None:
    found = extract(response, COUNT)
    assert found.status == "found", found
    assert (found.text or "").strip("$ ").removeprefix("x=").split(" ")[0].rstrip("个") in (
        "5",
        "five",
        "\\boxed{5}",
    ), found


@pytest.mark.parametrize(
    ("response", "asked", "status"),
    [
        ("", COUNT, "none"),
        ("<think>5", COUNT, "none"),
        ("The apples are red.", COUNT, "none"),
        ("Final answer: 5\nFinal answer: 6", COUNT, "ambiguous"),
        ("The answer is 5. Later: the answer is 6.", COUNT, "ambiguous"),
        ("\\boxed{5}\n\nWait, the answer is 6.", COUNT, "ambiguous"),
        ("5 or 6", COUNT, "ambiguous"),
        ("Perhaps 5.", COUNT, "ambiguous"),
        ("There are 5 red, 3 blue and 2 green ones.", COUNT, "none"),
        ("Step 5: count.", COUNT, "none"),
        ("I cannot determine the number of apples.", COUNT, "abstained"),
        ("Final answer: N/A", COUNT, "abstained"),
        ("A or B", LETTERS, "ambiguous"),
        ("(B) red", LETTERS, "ambiguous"),
        ("\\boxed{A} is not \\boxed{B}", LETTERS, "ambiguous"),
        ("It is a cat or a dog, maybe.", ANIMAL, "ambiguous"),
    ],
)
def test_no_answer_or_several_is_said_so(response: str, asked: Asked, status: str) -> None:
    assert extract(response, asked).status == status


def test_explicit_places_come_first() -> None:
    assert extract("There are 6 apples, as it seems.\nFinal answer: 5", COUNT).text == "5"
    assert extract("First I thought the answer is 6.\n\n\\boxed{5}", COUNT).text == "5"


def test_questions_that_a_model_asks_itself_are_not_answered_for_it() -> None:
    assert extract("The answer is 5.\n\nQuestion: How many pears?\nAnswer: 5", COUNT).text == "5"
    assert extract("The answer is 5.\n\nQuestion: How many pears?\nAnswer: 7", COUNT).rule == "ran_on"
    assert extract("5<|im_end|>\n<|im_start|>user\nAnd 7?", COUNT).text == "5"


def test_boxes_are_balanced_and_blanks_left_out() -> None:
    assert [box.text for box in boxed_spans(r"\boxed{\frac{1}{2}} is not \boxed{ \{1, 2\} }")] == [
        r"\frac{1}{2}",
        r" \{1, 2\} ",
    ]
    assert boxed_spans(r"\boxed{\phantom{2}} \boxed{} \boxed{?} \boxed{3") == []
    assert [box.text for box in boxed_spans(r"\boxed 5")] == ["5"]


def test_boxes_side_by_side_are_one_answer() -> None:
    assert extract(r"\boxed{1}, \boxed{2} and \boxed{3}", Asked("list")).text == "1, 2, 3"
    assert extract("\\boxed{1}\n\nlater and far away it is said that\n\n\\boxed{2}", COUNT).status == "ambiguous"


def test_a_long_response_keeps_head_and_tail() -> None:
    long = "Hm. " * 50_000 + "The answer is 5."
    assert len(prepare_reply(long).text) <= MAX_CHARS + 1
    assert extract(long, COUNT).text == "5"


def test_a_program_is_no_answer() -> None:
    assert extract("There are 5 apples.\n```python\nprint(7)\n```", COUNT).text == "5"


def test_what_was_tried_is_listed() -> None:
    assert any("final_answer" in place for place in extract("Final answer: 5", COUNT).tried)
