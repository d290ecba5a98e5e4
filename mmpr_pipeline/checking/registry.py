"""Checkers of third parties: one for a kind of answer, found by name or added in this process.

A distribution adds one through an entry point, `[project.entry-points."mmpr.checkers"]`, whose name is the kind that
it checks; a program by `@checker("text", version=1)`. It stands before the rules of this package for that kind. Its
name and version are part of the identity of what is built with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol, get_args

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.core.verdict import AnswerKind, Verdict

if TYPE_CHECKING:
    from mmpr_pipeline.core.records import Question


class Checker(Protocol):
    """Decides on one response; an exception costs that verdict, not the run."""

    def __call__(self, question: Question, response: str) -> Verdict: ...


CHECKERS: Registry[Checker] = Registry("mmpr.checkers", "checker", {})


@cache
def checker_for(kind: AnswerKind) -> tuple[Checker, str] | None:
    """The third party's checker for a kind, with its name and version; None where the rules of this package decide."""
    if kind not in CHECKERS.names():
        return None
    return CHECKERS.get(kind), f"{kind} of {CHECKERS.origins([kind])[kind]}"


def checker(kind: AnswerKind, *, version: int | str) -> Callable[[Checker], Checker]:
    """Register a function as the checker of a kind in this process. Raises ConfigError for a kind that is not known."""
    if kind not in get_args(AnswerKind):
        raise ConfigError(
            f"There is no kind of answer {kind!r}.", remedy=f"Name one of {', '.join(get_args(AnswerKind))}."
        )

    def add(function: Checker) -> Checker:
        name = getattr(function, "__qualname__", type(function).__name__)
        CHECKERS.add(kind, function, f"{name} {version}")
        checker_for.cache_clear()
        return function

    return add
