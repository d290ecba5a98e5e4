"""What scoring says of one response, and the part of a response that it is applied to.

The official rules were made for short answers: they see what a response concludes with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem


@dataclass(frozen=True)
class Graded:
    """One response scored. `score` is 1 for right and 0 for wrong, or what a judge gives on its own scale."""

    score: float
    said: str | None = None
    """The answer that was read in the response; None where none was found."""
    rule: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Further numbers that a metric adds up, by name."""


Score = Callable[[BenchmarkItem, str], Graded]
"""Scores one response to one item; pure."""


_THINK = re.compile(r"^.*</think>", re.DOTALL)
_ANSWER_TAG = re.compile(r"<answer>(.{1,2000}?)</answer>", re.DOTALL)
_FINAL = re.compile(r"(?:final answer|最终答案)\s*[:：]\s*", re.IGNORECASE)
_BOXED = "\\boxed{"


def conclusion(response: str) -> str:
    """What follows the last `Final answer:`, or stands in the last box or answer tag; else all of it.

    Reasoning that is closed by `</think>` is no part of the answer.
    """
    text = _THINK.sub("", response).strip()
    tags = _ANSWER_TAG.findall(text)
    if tags:
        return str(tags[-1]).strip()
    finals = list(_FINAL.finditer(text))
    if finals:
        text = text[finals[-1].end() :].strip()
    boxed = _last_box(text)
    return boxed if boxed is not None else text.strip("* \n") if finals else text


def _last_box(text: str) -> str | None:
    """The content of the last box whose brace is closed."""
    start = text.rfind(_BOXED)
    if start < 0:
        return None
    depth = 1
    for at in range(start + len(_BOXED), len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            inner = text[start + len(_BOXED) : at].strip()
            return re.sub(r"^\\text\{([^{}]*)\}$", r"\1", inner)
    return None
