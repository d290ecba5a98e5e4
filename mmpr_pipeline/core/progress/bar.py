"""The bar that every command shows on a terminal, and the plain lines that it writes elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mmpr_pipeline.core.progress.pace import Pace, duration, roughly

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

PLAIN_SECONDS = 10.0
"""Seconds between lines where there is no terminal."""


class ProgressBar:
    """A `Progress` on a console; a context manager, and the bar is gone at its end.

    On a terminal it is one line of 80 columns (what, bar, count, rate, time left), and a second one where there are
    figures to note. Elsewhere it is a plain line now and then; nothing at all where `plain` is false.
    What others print while it is there goes above it, unless `redirects` is false.
    """

    def __init__(self, console: Console, *, plain: bool = True, redirects: bool = True) -> None:
        from rich.spinner import Spinner

        self._console, self._plain, self._redirects = console, plain, redirects
        self._live: Live | None = None
        self._what, self._done, self._of, self._note = "", 0, 0, ""
        self._first, self._began = 0, time.monotonic()
        self._pace = Pace()
        self._printed = 0.0
        self._turning = Spinner("dots")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(
                get_renderable=self._line,
                console=self._console,
                transient=True,
                refresh_per_second=5,
                redirect_stdout=self._redirects,
                redirect_stderr=self._redirects,
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, what: str, done: int, of: int, /, at_work: int = 0, note: str = "") -> None:
        """See `Progress`. Rates and the time left count from the first call that named this work."""
        if what != self._what:
            self._what, self._first, self._began, self._pace = what, done, time.monotonic(), Pace()
            self._printed = 0.0
        self._pace.seen(done, of, time.monotonic(), at_work)
        self._done, self._of, self._note = done, of, note
        if not self._live and self._plain and self._due():
            self._printed = time.monotonic()
            self._console.print(f"mmpr: {self.text()}", highlight=False, markup=False, soft_wrap=True)

    def text(self) -> str:
        """What the bar says, as one line."""
        parts = [self._what, *self._figures()]
        return "  ".join(part for part in [*parts, self._note] if part)

    def _due(self) -> bool:
        finished = self._of > 0 and self._done >= self._of > self._first
        return not self._printed or finished or time.monotonic() - self._printed >= PLAIN_SECONDS

    def _figures(self) -> list[str]:
        """Count, rate and time left, each only where it says something."""
        now = time.monotonic()
        made, seconds = self._done - self._first, now - self._began
        count = f"{self._done:,}/{self._of:,}" if self._of else f"{self._done:,}" if self._done else ""
        left, recent = self._pace.left(now), self._pace.rate(now)
        rate = recent or (made / seconds if seconds >= 2 else 0.0)
        return [count, pace(rate) if rate > 0 else "", f"{roughly(left)} left" if left is not None else ""]

    def _line(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar as DrawnBar
        from rich.table import Table
        from rich.text import Text

        if not self._what:
            return Text()
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(max_width=34, no_wrap=True, overflow="ellipsis")
        line.add_column(ratio=1, min_width=8)
        figures = [figure for figure in self._figures() if figure]
        for _ in figures:
            line.add_column(no_wrap=True, justify="right")
        middle = DrawnBar(self._of, self._done) if self._of else self._turning
        line.add_row(Text(self._what, "bold"), middle, *(Text(f" {figure}") for figure in figures))
        return Group(line, Text(self._note, "dim", no_wrap=True, overflow="ellipsis")) if self._note else line


def pace(rate: float) -> str:
    """Parts a second in words: `12/s`, `1.5/s`, or of slow work the time for each: `4.2 s each`."""
    if rate >= 10:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{duration(1 / rate) if rate < 1 / 60 else f'{1 / rate:.1f} s'} each"
