"""An estimate of the time left, shown only while it can be trusted.

The start of a piece of work says little about the rest: an engine warms up, and of many questions begun at once, the
first takes long to end and the next ones follow soon. Later the speed may change. So the pace is measured over the
recent past, as far back as it was steady:

    time left = (all - done + at work) / pace,    pace = done since BASE / seconds since BASE

The last parts run with fewer and fewer beside them, and are expected to take twice the mean duration, which is
at work / pace. BASE starts at the moment when the first part was done. Whenever the newer part of the time since BASE
is markedly faster or slower than the older part, BASE moves to where the newer part begins, and no estimate is shown
until the new pace has held. Nor is one shown before all parts that were begun together have ended, or when no parts
are left to begin: the pace does not say how long the last ones take.
"""

from __future__ import annotations

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
