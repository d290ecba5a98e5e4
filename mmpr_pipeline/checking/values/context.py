"""What the matchers know of the question, and the form of their decisions."""

from __future__ import annotations

import re
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

_EXACT = re.compile(
    r"\b(?:what|which|as an?|simplified|common|reduced|improper|proper) (?:\w+ )?fraction\b"
    r"|\bsimplest (?:radical )?form\b"
    r"|\blowest terms\b|\bexact (?:value|answer|form)\b|\bin terms of (?:\\?\$?\\?pi|π|[a-z]\b)|\bsimplify\b|最简",
    re.IGNORECASE,
)
_RATE = re.compile(r"\b(?:rate|share|proportion|accuracy|probability|interest)\b", re.IGNORECASE)

Decision = tuple[bool | None, str]  # True, False, or None for in doubt; and the rule that decided.


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about the question: its text, and the precision and unit that its source states."""

    question: str = ""
    precision: float | None = None
    unit: str | None = None
    language: str = "en"

    def asks_rounding(self) -> bool:
        """Whether the question asks for a rounded value."""
        lower = self.question.lower()
        return any(word in lower for word in _ROUNDING_WORDS)

    def asks_exact(self) -> bool:
        """Whether the question asks for a fraction or another exact form, so that its rounded value is no answer."""
        return _EXACT.search(self.question) is not None and not self.asks_rounding()

    def asks_for(self, name: str) -> bool:
        """Whether the question asks for the value of a symbol."""
        asks = r"(?:value of|find|what is|what's|solve for|determine|calculate|求)\s?[$\\(]{0,3}"
        pattern = rf"{asks}{re.escape(name)}(?![A-Za-z_])"
        return bool(name) and re.search(pattern, self.question, re.IGNORECASE) is not None

    def asks_rate(self) -> bool:
        """Whether the question asks for a rate or a share: 70% and 70 are then one answer."""
        return _RATE.search(self.question) is not None

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
