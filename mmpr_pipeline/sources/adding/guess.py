"""What is guessed of a source: fields of its declaration, the reason for each, and doubts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Guess:
    """Fields of a declaration, why each was chosen, and what is doubtful."""

    fields: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def suggest(self, name: str, value: Any, why: str) -> None:
        """A column and the reason for it."""
        self.columns[name] = value
        self.why[f"columns.{name}"] = why
