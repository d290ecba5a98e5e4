"""What is asked and what is right: everything that a verdict needs but the answer itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mmpr_pipeline.checking.kinds import kind_of
from mmpr_pipeline.checking.reading.choices import choices_in, gold_letters
from mmpr_pipeline.checking.reading.quantity import read_quantity
from mmpr_pipeline.core.records import AnswerKind


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: all of a question that matters for finding its answer, the gold not among it."""

    kind: AnswerKind
    choices: tuple[str, ...] = ()
    question: str = ""
    numeric: bool = False
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Gold:
    """What is right, and what was asked: everything but the answer to be judged."""

    golds: tuple[str, ...]
    asked: Asked
    unit: str | None = None
    precision: float | Sequence[float] | None = None

    @classmethod
    def of(
        cls,
        gold: str,
        golds: Sequence[str] = (),
        *,
        kind: str | None = None,
        choices: Sequence[str] = (),
        question: str = "",
        unit: str | None = None,
        precision: float | Sequence[float] | None = None,
        language: str = "en",
    ) -> Gold:
        """The gold of a case; the kind is inferred where it is not one of `records.AnswerKind` (or a synonym)."""
        parts = tuple(precision) if isinstance(precision, list | tuple) else precision
        return _gold(gold, tuple(golds or ()), kind, tuple(choices or ()), question, unit, parts, language)


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
    settled = kind_of(kind, gold, choices, question)
    if settled == "choice":
        choices = choices or choices_in(question)
        if not gold_letters(gold, choices):
            settled, choices = kind_of(None, gold, (), ""), ()
    numeric = settled in ("chart", "text", "document") and read_quantity(gold, language) is not None
    every = tuple(dict.fromkeys([gold, *golds]))
    return Gold(every, Asked(settled, choices, question, numeric, language), unit, precision)
