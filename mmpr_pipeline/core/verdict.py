"""What the checker says of one response. Plain data without pydantic: the checker is used where nothing else is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

AnswerKind = Literal["choice", "number", "math", "text", "yes_no", "list", "chart", "document", "none"]
Outcome = Literal["correct", "incorrect", "unparseable"]


def _described(description: str) -> dict[str, str]:
    return {"description": description}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the checker says of one response."""

    outcome: Outcome = field(metadata=_described("correct, incorrect, or unparseable (used in no pair)."))
    extracted: str | None = field(default=None, metadata=_described("The answer found in the response."))
    rule: str = field(metadata=_described("The rule that decided."))
    checker: str = field(default="", metadata=_described("Name and version of the checker."))
