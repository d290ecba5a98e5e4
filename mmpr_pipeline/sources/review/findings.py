"""What a check of a source found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources.source import Source

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something wrong: its fixed name, what it means, and where it was seen, as (row, what was seen)."""

    name: str
    level: Level
    text: str
    rows: tuple[tuple[int, str], ...]


@dataclass
class Checked:
    """What was looked at, and what is wrong with it. `items` has the number of each row before it."""

    source: Source
    total: int
    items: list[tuple[int, Question | Reject]] = field(default_factory=list)
    accepted: int = 0
    answered: int = 0
    refused: int = 0
    foreign: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def questions(self) -> list[tuple[int, Question]]:
        """The rows that are questions."""
        return [(row, item) for row, item in self.items if isinstance(item, Question)]

    @property
    def rejects(self) -> list[tuple[int, Reject]]:
        """The rows that are not."""
        return [(row, item) for row, item in self.items if isinstance(item, Reject)]

    @property
    def serious(self) -> bool:
        """Whether something is so wrong that a build would be wasted."""
        return any(finding.level == "error" for finding in self.findings)

    def found(self, name: str, text: str, rows: Sequence[tuple[int, str]], serious: bool = False) -> None:
        """Note something wrong, if it was seen at all."""
        if rows:
            self.findings.append(Finding(name, "error" if serious else "warning", text, tuple(rows)))
