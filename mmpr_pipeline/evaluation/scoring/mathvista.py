"""MathVista (Lu et al. 2024): the answer is extracted, brought into the form of its type, and compared as text.

Extraction is by this package's checker; the authors let a language model do it. What follows is the authors' rule:
the choice of smallest edit distance, an integer cut at the point, a decimal rounded to the precision asked for.
"""

from __future__ import annotations

import re

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.checking.matching.documents_and_charts import levenshtein
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.graded import Graded

_LETTER = re.compile(r"\(([a-zA-Z])\)")
_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d{1,3})?|[-+]?\.\d+")


def mathvista(item: BenchmarkItem, response: str) -> Graded:
    """Right where the extracted answer, in the form of its type, is the gold's text."""
    verdict = check_question(item.question, response)
    extracted = verdict.extracted if verdict.extracted is not None else ""
    answer_type, choices = item.text("answer_type"), item.question.choices
    said = normalised(extracted, choices, answer_type, item.question.precision)
    gold = choices[ord(item.question.answer[0]) - 65] if choices and item.question.answer else item.text("answer")
    right = said is not None and said.strip() == gold.strip()
    if answer_type == "list" and not choices and verdict.outcome == "correct":
        right = True  # `[1, 2]` and `1, 2` are one list; the authors' own extraction writes it as the gold is
    return Graded(float(right), said, verdict.rule)


def normalised(extracted: str, choices: tuple[str, ...], answer_type: str, precision: float | None) -> str | None:
    """The extracted answer in the form of its type; None where it has none."""
    text = extracted.strip()
    if choices:
        bracketed = _LETTER.findall(text)
        text = bracketed[0].upper() if bracketed else text
        if len(text) == 1 and text.isalpha() and 0 <= ord(text.upper()) - 65 < len(choices):
            return choices[ord(text.upper()) - 65]
        if not text:
            return None
        return min(choices, key=lambda choice: levenshtein(text, choice, max(len(text), len(choice))))
    if answer_type not in ("integer", "float"):
        return text or None
    found = _NUMBER.search(text)
    if not found:
        return None
    try:
        value = float(found[0].replace(",", ""))
        return str(int(value)) if answer_type == "integer" else str(round(value, int(precision or 0)))
    except (ValueError, OverflowError):
        return None
