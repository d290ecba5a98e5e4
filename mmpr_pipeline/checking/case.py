"""What is asked and what is right: everything that a verdict needs but the answer itself, its kind among it; one answer
as it was read (`Reading`), and what a matcher says of it (`Match`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite
from typing import NamedTuple, get_args

from mmpr_pipeline.checking.reading.choices import Choice, choices_in, gold_letters, read_by_text
from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.quantity import read_quantity
from mmpr_pipeline.checking.values.numbers.units import parse_unit
from mmpr_pipeline.core.verdict import AnswerKind, Outcome

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


class Asked(NamedTuple):
    """What was asked: all of a question that matters for finding its answer, the gold not among it."""

    kind: AnswerKind
    choices: tuple[str, ...] = ()
    question: str = ""
    numeric: bool = False
    language: str = "en"


class Gold(NamedTuple):
    """What is right, and what was asked: everything but the answer to be judged."""

    golds: tuple[str, ...]
    asked: Asked
    unit: str | None = None
    precision: float | Sequence[float] | None = None

    @classmethod
    def of(
        cls,
        gold: str | float,
        golds: Sequence[str | float] = (),
        *,
        kind: str | None = None,
        choices: Sequence[str] = (),
        question: str = "",
        unit: str | None = None,
        precision: float | Sequence[float] | None = None,
        language: str = "en",
    ) -> Gold:
        """The gold of a case; the kind is inferred where none is named.

        A number is read as its digits. Raises TypeError where a gold or a choice is no text, and ValueError for a kind
        that is neither one of `core.verdict.AnswerKind` nor a synonym.
        """
        parts = tuple(precision) if isinstance(precision, list | tuple) else precision
        if isinstance(golds, str) or isinstance(choices, str):
            raise TypeError("`golds` and `choices` are lists of texts, not one text.")
        others, options = tuple(map(gold_text, golds or ())), tuple(map(gold_text, choices or ()))
        return _gold(gold_text(gold), others, kind, options, question or "", unit, parts, language)


def gold_text(value: str | float) -> str:
    """A gold as text: 3834.0 is `3834`, True is `True`. Raises TypeError for what is neither text nor a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or (isinstance(value, int | float) and isfinite(value)):
        return str(value) if isinstance(value, bool | int) else f"{value:.17g}" if value % 1 else f"{value:.0f}"
    raise TypeError(f"A gold or a choice is text or a number, not {type(value).__name__}: {value!r:.80}")


@lru_cache(maxsize=2_048)
def _gold(
    gold: str,
    golds: tuple[str, ...],
    kind: str | None,
    choices: tuple[str, ...],
    question: str,
    unit: str | None,
    precision: float | tuple[float, ...] | None,
    language: str,
) -> Gold:
    """One question is asked of many rollouts: its gold is read once."""
    settled = answer_kind(kind, gold, choices, question)
    if settled == "choice":
        choices = choices or choices_in(question)
        if not gold_letters(gold, choices):
            settled, choices = answer_kind(None, gold, (), ""), ()
    quantity = read_quantity(gold, language) if settled in ("chart", "text", "document") else None
    # A number with a noun that is no unit ("three dogs") is a phrase: as text, the noun is part of the answer.
    numeric = quantity is not None and (settled != "text" or not quantity.unit or parse_unit(quantity.unit) is not None)
    every = tuple(dict.fromkeys([gold, *golds]))
    return Gold(every, Asked(settled, choices, question, numeric, language), unit, precision)


def is_kind(name: str) -> bool:
    """Whether a name is a kind or a synonym of one."""
    try:
        return bool(name.strip()) and bool(answer_kind(name, ""))
    except ValueError:
        return False


def answer_kind(kind: str | None, gold: str, choices: Sequence[str] = (), question: str = "") -> AnswerKind:
    """The kind as named or by a synonym; without a name, inferred. Raises ValueError for a name that is not known."""
    name = re.sub(r"[- /]", "_", (kind or "").strip().lower())
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


class Reading(NamedTuple):
    """One answer read: its text, its value (letters, truth value), and whether it is offered as one of several.

    `prose` marks a sentence whose answer could not be cut out: a match in it counts, a mismatch is in doubt.
    """

    text: str
    choice: Choice | None = None
    truth: bool | None = None
    hedged: bool = False
    prose: bool = False
    weight: int = 0
    also: tuple[str, ...] = ()


class Match(NamedTuple):
    """One decision. `unparseable` means in doubt: the answer was not understood, or could not be decided safely."""

    outcome: Outcome
    rule: str
    detail: str = ""
