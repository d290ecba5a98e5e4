"""Qwen2.5-Math's grader as a description: what its `parser.py` and `grader.py` do, in our own words.

An answer is taken from the last box, else from behind "the answer is", else it is the last number; a choice is the last
capital of A to E. Equal are equal strings without blanks and LaTeX dressing, and numbers within 1e-4, as they are, as
percents, and as a hundredth. Its comparison by sympy, of what neither rule decides, is left out.
"""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"-?\d*\.?\d+")
_DRESSING = re.compile(
    r"\\(?:left|right|,|!|;| |quad|text\{|mathrm\{|mbox\{|\$|%|\()|\\[)\]]|[\s${}]|\^?\\circ|degrees?$"
)


def extracted(response: str, kind: str) -> str:
    """The answer that its parser takes from a response."""
    if "boxed" in response:
        return _boxed(response.rpartition("boxed")[2])
    for words in ("he answer is", "final answer is", "答案是"):
        if words in response:
            return response.rpartition(words)[2].strip().split("\n")[0].rstrip(".")
    if kind in ("choice", "yes_no", "text", "document"):
        return response.strip().rstrip(".")
    numbers = _NUMBER.findall(response.replace(",", ""))
    return numbers[-1] if numbers else ""


def _boxed(text: str) -> str:
    depth, content = 0, ""
    for char in text:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth == 0:
            break
        content += char
    return content.removeprefix("{")


def judged(answer: str, row: dict[str, Any]) -> bool:
    """Whether its grader takes an answer for right."""
    return any(_equal(answer, str(gold), row) for gold in (row["gold"], *(row.get("golds") or [])))


def _equal(answer: str, gold: str, row: dict[str, Any]) -> bool:
    if row.get("kind") == "choice":
        letters = re.findall(r"\b([A-E])\b", answer.upper())
        return (letters[-1] if letters else answer.strip()) == gold.strip()
    one, other = (_DRESSING.sub("", text.strip().rstrip(".")).lower() for text in (answer, gold))
    if one == other:
        return True
    try:
        left, right = (float(text.replace(",", "").rstrip("%")) for text in (one, other))
    except ValueError:
        return False
    return any(abs(left - value) <= 1e-4 * max(abs(value), 1e-9) for value in (right / 100, right, right * 100))
