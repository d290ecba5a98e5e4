"""What the matchers know of the question, and the form of their decisions."""

from __future__ import annotations

from dataclasses import dataclass

_ROUNDING_WORDS = (
    "nearest",
    "round",
    "decimal",
    "approximat",
    "estimate",
    "hundredth",
    "tenth",
    "小数",
    "保留",
    "精确",
    "近似",
)
_POINT_WORDS = ("point", "coordinate", "ordered pair", "vertex", "intersect", "vector", "坐标", "点", "向量")
_PERCENT_WORDS = ("percent", "%", "百分")

Decision = tuple[bool | None, str]  # True, False, or None for in doubt; and the rule that decided.


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about the question: its text, and the precision and unit that its source states."""

    question: str = ""
    precision: float | None = None
    unit: str | None = None

    def asks_rounding(self) -> bool:
        """Whether the question asks for a rounded value."""
        lower = self.question.lower()
        return any(word in lower for word in _ROUNDING_WORDS)

    def asks_base(self) -> bool:
        """Whether the question names a number base."""
        return "base" in self.question.lower() or "进制" in self.question

    def asks_point(self) -> bool:
        """Whether the question asks for a point or an ordered pair."""
        lower = self.question.lower()
        return any(word in lower for word in _POINT_WORDS)

    def asks_percent(self) -> bool:
        """Whether the question asks for, or speaks of, a percentage."""
        lower = self.question.lower()
        return any(word in lower for word in _PERCENT_WORDS)
