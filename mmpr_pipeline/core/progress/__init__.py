"""How work says how far it is: one protocol, and a null object for who does not want to know."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how much of it is done, and of how much; `of` 0: that is not known. `at_work`:
    parts that are begun and not done, where several are at once."""

    def __call__(self, what: str, done: int, of: int, /, at_work: int = 0) -> None:
        """Say how far the work is."""


class Stage(Protocol):
    """Called with what begins, or with how far it is where that is counted."""

    def __call__(self, text: str, done: int = 0, of: int = 0, /) -> None:
        """Name what is being done."""


def no_progress(what: str, done: int, of: int, /, at_work: int = 0) -> None:
    """Say nothing."""
