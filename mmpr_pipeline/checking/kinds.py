"""Which kind of answer a gold is, where its source does not say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from mmpr_pipeline.checking.choice import choices_in, read_by_text
from mmpr_pipeline.checking.normalise import undressed
from mmpr_pipeline.records import AnswerKind

KINDS = frozenset(get_args(AnswerKind)) - {"none"}
SYNONYMS = {
    "multiple_choice": "choice", "multi_choice": "choice", "mcq": "choice", "multichoice": "choice", "option": "choice",
    "choices": "choice", "multi_select": "choice", "integer": "number", "float": "number", "numeric": "number", "int": "number",
    "true_false": "yes_no", "boolean": "yes_no", "bool": "yes_no", "judge": "yes_no", "yesno": "yes_no", "tf": "yes_no",
    "open": "text", "free_form": "text", "vqa": "text", "string": "text", "short_answer": "text", "word": "text",
    "latex": "math", "expression": "math", "formula": "math", "set": "list", "docvqa": "document", "anls": "document",
    "ocr": "document", "chartqa": "chart", "relaxed": "chart", "date": "text",
}  # fmt: skip
_NUMBER = re.compile(r"[-+]?[$€£¥]?\s?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:\s?/\s?\d+)?(?:[eE][-+]?\d+)?\s?(?:%|°)?")
_LIST = re.compile(r"\[.{1,2000}\]", re.DOTALL)


def kind_of(kind: str | None, gold: str, choices: Sequence[str] = (), question: str = "") -> AnswerKind:
    """The kind as named, by a synonym, or else inferred from the gold, the choices and the question."""
    name = (kind or "").strip().lower().replace("-", "_").replace(" ", "_").replace("/", "_")
    name = SYNONYMS.get(name, name)
    if name in KINDS:
        return name  # type: ignore[return-value]
    return inferred(gold, choices, question)


def inferred(gold: str, choices: Sequence[str] = (), question: str = "") -> AnswerKind:
    """choice if there are choices, or the gold is letters; yes_no, list, number or math by the gold's form; else text."""
    text = undressed(gold)
    if choices:
        return "choice"
    if text.casefold() in ("yes", "no", "true", "false", "是", "否", "对", "错", "正确", "错误"):
        return "yes_no"
    if re.fullmatch(r"\(?[A-J]\)?", text) or (re.fullmatch(r"[A-J]{2,6}", text) and choices_in(question)):
        return "choice"
    if choices_in(question) and read_by_text(text, choices_in(question)):
        return "choice"
    if _LIST.fullmatch(text) and "," in text:
        return "list"
    if any(c.isdigit() for c in text) and _NUMBER.fullmatch(text):
        return "number"
    if "\\" in text or "$" in gold or re.search(r"[=^√π≤≥]|\d\s?[a-z]\b", text):
        return "math"
    if re.fullmatch(r"[-+*/^().\d\s]+", text):
        return "math"
    return "text"
