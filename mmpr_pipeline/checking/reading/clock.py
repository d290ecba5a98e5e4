"""Times of day: 4:30 p.m. is 16:30, and 4:30 where the half of the day is not said."""

from __future__ import annotations

import re

_TIME = re.compile(
    r"(?:at\s)?(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?[\s~]*(?:\\text\s?\{\s?)?(a\.?\s?m\.?|p\.?\s?m\.?|noon|o'clock)?\s?\}?\.?",
    re.IGNORECASE,
)


def _parse(text: str) -> tuple[int, int, int, str] | None:
    match = _TIME.fullmatch(text.strip()) if len(text) < 40 else None
    if match is None or not (match[2] or match[4]):
        return None
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if hour > 24 or minute > 59 or second > 59:
        return None
    half = (match[4] or "").lower().replace(".", "").replace(" ", "")
    half = {"noon": "pm", "o'clock": ""}.get(half, half)
    return hour, minute, second, half


def compare_times(left: str, right: str) -> tuple[bool | None, str] | None:
    """Two times of day, one of them said to be one; None where they are not (a bare 3:4 is a ratio)."""
    one, other = _parse(left), _parse(right)
    if one is None or other is None or not (one[3] or other[3]):
        return None
    if bool(one[3]) != bool(other[3]):
        if one[:3] == other[:3]:
            return True, "same_time"
        plain, named = (one, other) if other[3] else (other, one)
        return plain[0] == _hour(named) and plain[1:3] == named[1:3], "time"
    return (_hour(one), one[1:3]) == (_hour(other), other[1:3]), "time"


def _hour(time: tuple[int, int, int, str]) -> int:
    return time[0] % 12 + 12 if time[3] == "pm" else time[0] % 12
