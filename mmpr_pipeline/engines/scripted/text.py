"""What the scripted engine says: short chains of thought, right and plausible wrong answers, in two languages."""

from __future__ import annotations

import re
import string

from mmpr_pipeline.core.records import Question

_EN = [
    "First look at what the picture shows.",
    "The picture gives every value that is needed.",
    "Compare the parts from left to right.",
    "The larger part is on the left side.",
    "The labels name the given sides and angles.",
    "Write down the known values one by one.",
    "The two quantities are related by a sum.",
    "Subtract the known part from the whole.",
    "Each row holds the same number of objects.",
    "Count the objects in the first row.",
    "Count the objects in the next row.",
    "Check the result against the picture again.",
    "The remaining value follows at once.",
    "This agrees with the text of the question.",
    "The colours separate the groups clearly.",
    "Read the value from the vertical axis.",
]
_ZH = [
    "先看图中给出的内容。",
    "图中给出了所需的数值。",
    "从左到右比较各个部分。",
    "较大的部分在左边。",
    "标注给出了已知的边和角。",
    "逐一写出已知的数值。",
    "两个量之间是相加的关系。",
    "从总量中减去已知的部分。",
    "每一行的物体数量相同。",
    "数一数第一行的物体。",
    "再数一数下一行的物体。",
    "对照图再检查一遍结果。",
    "剩下的数值随之可得。",
    "这与题目的文字一致。",
    "颜色把各组清楚地分开。",
    "从纵轴上读出数值。",
]
_WORDS = ["red", "blue", "seven", "circle", "triangle", "Paris", "north", "wood", "three", "table", "green", "none"]
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
_EN_WORDS, _ZH_CHARS = 7, 10  # about how many tokens one sentence has


def prose(bits: int, tokens: int, language: str) -> str:
    """Sentences of about `tokens` tokens chosen by `bits`; the first names a number, so that chains rarely repeat."""
    sentences, size, gap = (_ZH, _ZH_CHARS, "") if language == "zh" else (_EN, _EN_WORDS, " ")
    value = bits >> 40
    opening = f"设这个值为{value}。" if language == "zh" else f"Let the value be {value}."
    chosen = [sentences[(bits >> (4 * (i % 10)) ^ i) & 15] for i in range(max(tokens // size - 1, 0))]
    return gap.join([opening, *chosen])


def closing(text: str, answer: str, prompt_version: str) -> str:
    """The chain of thought with its answer, stated as the prompt's style asks."""
    if prompt_version.startswith("direct"):
        return answer
    if prompt_version.startswith("cot-think"):
        text = f"<think>{text}</think>"
    if "boxed" in prompt_version:
        return f"{text}\n\\boxed{{{answer}}}"
    return f"{text}\n{'最终答案：' if '-zh' in prompt_version else 'Final answer: '}{answer}"


def ending_without_answer(language: str) -> str:
    """An ending without an answer."""
    return "我无法确定。" if language == "zh" else " It cannot be told from this."


def wrong_answer(question: Question, bits: int) -> str:
    """An answer that someone could have given: another choice, another number, the opposite, another word."""
    gold = question.answer or ""
    if len(question.choices) > 1:
        letters = string.ascii_uppercase[: len(question.choices)]
        right = gold.strip().upper()
        others = [
            letter
            for letter, choice in zip(letters, question.choices, strict=False)
            if letter != right and choice != gold.strip()
        ]
        return others[bits % len(others)] if others else "none of these"
    if question.kind == "yes_no":
        return "no" if gold.strip().lower() in {"yes", "true", "1"} else "yes"
    number = _NUMBER.search(gold)
    if number:
        decimals = len(number[0].partition(".")[2])
        units = round(float(number[0]) * 10**decimals)
        # A slip of at least a tenth: no tolerance takes it for right.
        other = f"{(units + (1 + bits % 9) * max(units // 5, 1)) / 10**decimals:.{decimals}f}"
        return gold[: number.start()] + other + gold[number.end() :]
    golds = {gold.strip().lower(), *(a.strip().lower() for a in question.answers)}
    others = [word for word in _WORDS if word.lower() not in golds]
    return others[bits % len(others)]
