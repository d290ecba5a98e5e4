"""How far work is: what it says of itself, the bar that every command shows, and the time left.

The time left is shown only while it can be trusted. The start of a piece of work says little about the rest: an engine
warms up, and of many questions begun at once, the first takes long to end and the next ones follow soon. Later the
speed may change. So the pace is measured over the recent past, as far back as it was steady:

    time left = (all - done + at work) / pace,    pace = done since BASE / seconds since BASE

The last parts run with fewer and fewer beside them, and are expected to take twice the mean duration, which is
at work / pace. BASE starts at the moment when the first part was done. Whenever the newer part of the time since BASE
is markedly faster or slower than the older part, BASE moves to where the newer part begins, and no estimate is shown
until the new pace has held. Nor is one shown before all parts that were begun together have ended, or when no parts
are left to begin: the pace does not say how long the last ones take.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


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


LEAST_SECONDS, LEAST_DONE = 20.0, 8
"""A pace must have held for this many seconds, and over this many finished parts."""

LEAST_SHARE, LONG_SECONDS = 0.05, 600.0
"""No estimate is shown before this share of the work is done, or a pace has held for this many seconds."""

ALIKE, STILL_ALIKE = 1.5, 2.0
"""How many times faster one part of the time may be than the other: before an estimate is shown, and while one is."""

BY_CHANCE = 2
"""A difference of this many finished parts is not a change of speed."""

NEWER = (1 / 2, 1 / 8)
"""Shares of the time that are compared with the time before: the first shows a drift, the second a halt."""

LAST, SOON = 3, 45.0
"""The last parts may take this many times as long as most. Up to `SOON` seconds, even that counts as soon."""

MOST_SECONDS, MOST_POINTS = 1800.0, 512
"""Counts older than this many seconds are forgotten, and at most this many are kept."""


class Pace:
    """Follows the counts of one piece of work. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []
        """When a count was first seen, from BASE on; the last one is always the newest."""
        self._began, self._first, self._of = 0.0, 0, 0
        self._waited = 0.0
        """Seconds until the first part was done."""
        self._at_work, self._together = 0, 0
        """Parts being worked on now, and the most at any one time."""
        self._shown, self._changed = False, 0.0
        """Whether an estimate was shown last, and when the pace last changed under one."""

    def seen(self, done: int, of: int, now: float, at_work: int = 0) -> None:
        """`done` of `of` parts are done, and `at_work` are being worked on. If `done` falls, the work has restarted."""
        self._at_work, self._together = at_work, max(self._together, at_work)
        if not self._points or done < self._points[-1][1]:
            self._points = [(now, done)]
            self._began, self._first, self._waited, self._shown = now, done, 0.0, False
            self._changed = now - LEAST_SECONDS
        elif done > self._points[-1][1]:
            if not self._waited:
                self._waited = now - self._began
                self._points.clear()
            self._points.append((now, done))
        self._of = of
        if len(self._points) > MOST_POINTS:
            apart = 2 * (now - self._points[0][0]) / MOST_POINTS
            kept = self._points[:1]
            for point in self._points[1:-1]:
                if point[0] - kept[-1][0] >= apart:
                    kept.append(point)
            self._points = [*kept, self._points[-1]]

    def left(self, now: float) -> float | None:
        """Seconds until all is done; None while that would be a guess."""
        rate = self.rate(now)
        made = self._points[-1][1] - self._first if self._points else 0
        still = self._of - self._first - made
        self._shown = (
            rate is not None
            and still > 0
            and made >= self._together
            and (made >= LEAST_SHARE * (made + still) or now - self._points[0][0] >= LONG_SECONDS)
            and (still > self._at_work or LAST * self._together < SOON * rate)
        )
        return (still + self._at_work) / rate if self._shown and rate else None

    def rate(self, now: float) -> float | None:
        """Parts a second; None before a pace has held."""
        while len(self._points) > 1 and self._points[1][0] < now - MOST_SECONDS:
            del self._points[0]
        for newer in NEWER:
            self._forget_before_a_change(newer, now)
        if not self._waited:
            return None
        (base, first), (_, done) = self._points[0], self._points[-1]
        held = now - base
        if min(held, now - self._changed) < LEAST_SECONDS or held < self._waited or done - first < LEAST_DONE:
            return None
        return (done - first) / held

    def _forget_before_a_change(self, newer: float, now: float) -> None:
        """Move BASE up to the newer share of the time since, where that is markedly faster or slower."""
        if len(self._points) < 2:
            return
        (base, first), (_, done) = self._points[0], self._points[-1]
        if now - base < LEAST_SECONDS:
            return
        begins = now - newer * (now - base)
        at = max(index for index, (seen, _) in enumerate(self._points) if seen <= begins)
        older, made = self._points[at][1] - first, done - self._points[at][1]
        expected = older * newer / (1 - newer)
        most = STILL_ALIKE if self._shown else ALIKE
        chance = max(BY_CHANCE, self._together)  # parts that were begun together end together, in waves
        if not expected / most - chance <= made <= expected * most + chance:
            self._points[: at + 1] = [(begins, self._points[at][1])]
            self._shown, self._changed = False, now if self._shown else self._changed


def duration(seconds: float) -> str:
    """Seconds for a reader: 1h05m, 3m20s or 12s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"


def roughly(seconds: float) -> str:
    """The time left, no more exact than it can be known: `less than a minute`, `about 2 min` or `about 1.5 h`."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < SOON:
        return "less than a minute"
    if minutes < 57.5:
        return f"about {max(1, round(minutes)) if minutes < 12.5 else 5 * round(minutes / 5)} min"
    if hours < 47.5:
        return f"about {round(2 * hours) / 2:g} h" if hours < 9.75 else f"about {round(hours)} h"
    return f"about {round(hours / 24)} days"


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
