"""Which kind of answer a gold is, where its source does not say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import get_args

from mmpr_pipeline.checking.reading.choices import choices_in, read_by_text
from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.quantity import read_quantity
from mmpr_pipeline.core.verdict import AnswerKind

KINDS = frozenset(get_args(AnswerKind)) - {"none"}
_OTHER_NAMES = {
    "choice": "multiple_choice multi_choice mcq multichoice option choices multi_select",
    "number": "integer float numeric int",
    "yes_no": "true_false boolean bool judge yesno tf",
    "text": "open free_form vqa string short_answer word date",
    "math": "latex expression formula",
    "list": "set",
    "document": "docvqa anls ocr",
    "chart": "chartqa relaxed",
}
SYNONYMS = {name: kind for kind, names in _OTHER_NAMES.items() for name in names.split()}
_LIST = re.compile(r"\[.{1,2000}\]", re.DOTALL)


def is_kind(name: str) -> bool:
    """Whether a name is a kind or a synonym of one."""
    return _plain(name) in KINDS or _plain(name) in SYNONYMS


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_").replace("/", "_")


def answer_kind(kind: str | None, gold: str, choices: Sequence[str] = (), question: str = "") -> AnswerKind:
    """The kind as named or by a synonym; without a name, inferred. Raises ValueError for a name that is not known."""
    name = _plain(kind or "")
    name = SYNONYMS.get(name, name)
    if name in ("chart", "text", "document") and undressed(gold).casefold() in ("yes", "no"):
        return "yes_no"
    if name in KINDS:
        return name  # type: ignore[return-value]
    if name:
        near = get_close_matches(name, [*KINDS, *SYNONYMS], n=3)
        hint = f" Is it {' or '.join(near)}?" if near else ""
        raise ValueError(f"Unknown kind of answer {kind!r}.{hint} Kinds: {', '.join(sorted(KINDS))}.")
    return inferred(gold, choices, question)


def inferred(gold: str, choices: Sequence[str] = (), question: str = "") -> AnswerKind:
    """`choice` if there are choices or the gold is letters; else by the gold's form; `text` if nothing else."""
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
    read = read_quantity(text)
    if read is not None and not read.unit and not read.comma and any(c.isdigit() for c in text):
        return "number"
    if "\\" in text or "$" in gold or re.search(r"[=^√π≤≥]|\d\s?[a-z]\b", text):
        return "math"
    if re.fullmatch(r"[-+*/^().\d\s]+", text):
        return "math"
    return "text"
