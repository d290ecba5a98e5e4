"""How long work will still take, said only when it can be said."""

from __future__ import annotations

LEAST_SECONDS, LEAST_SHARE = 20.0, 0.02
"""Before so long, and before such a share of the work is done, nothing is said of the time left: of a minute of work
because the start is slower than the rest, of a day of work because that is half an hour."""


def time_left(done: int, of: int, seconds: float) -> float | None:
    """Seconds until all is done, at the pace of the `seconds` so far; None while that would be a guess."""
    if done <= 0 or done >= of or seconds < LEAST_SECONDS or done < LEAST_SHARE * of:
        return None
    return seconds * (of - done) / done


def duration(seconds: float) -> str:
    """Seconds as a person says them: 1h05m, 3m20s or 12s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
