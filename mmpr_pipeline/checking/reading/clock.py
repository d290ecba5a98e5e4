"""Times of day: 4:30 p.m. is 16:30, and 4:30 where the half of the day is not said; `quarter to six` is 5:45."""

from __future__ import annotations

import re
from typing import NamedTuple

from mmpr_pipeline.checking.reading.number_words import number_from_words
from mmpr_pipeline.checking.values.context import Decision

_TIME = re.compile(
    r"(?:at\s)?(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?[\s~]*(?:\\text\s?\{\s?)?"
    r"(a\.?\s?m\.?|p\.?\s?m\.?|noon|o'clock)?\s?\}?\.?",
    re.IGNORECASE,
)
_SPOKEN = re.compile(
    r"(?:at )?(?:an? )?(?P<part>quarter|half|[a-z]{3,6}(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?)"
    r"(?: minutes?)? (?P<side>to|before|till|of|past|after) "
    r"(?P<hour>[a-z]{3,6}|\d{1,2})(?: o'clock)?(?: ?(?P<half>[ap]\.?m\.?))?",
    re.IGNORECASE,
)
_NAMED = {"noon": (12, 0, 0, "pm"), "midday": (12, 0, 0, "pm"), "midnight": (0, 0, 0, "am")}


class Time(NamedTuple):
    """A time of day; `half` is am, pm or unsaid; `said` is False for bare digits, which may be a ratio."""

    hour: int
    minute: int
    second: int
    half: str
    said: bool


def read_time(text: str) -> Time | None:
    """The time of day that a whole text is; None for anything else."""
    text = text.strip()
    if len(text) >= 40:
        return None
    if text.lower() in _NAMED:
        return Time(*_NAMED[text.lower()], True)
    match = _TIME.fullmatch(text)
    if match is None:
        spoken_match = _SPOKEN.fullmatch(text)
        if spoken_match is None:
            return None
        part = {"quarter": 15, "half": 30}.get(spoken_match["part"].lower()) or number_from_words(spoken_match["part"])
        spoken_hour = (
            number_from_words(spoken_match["hour"]) if spoken_match["hour"].isalpha() else int(spoken_match["hour"])
        )
        if part is None or spoken_hour is None or not 0 < part < 60 or not 0 < spoken_hour <= 12:
            return None
        past = spoken_match["side"].lower() in ("past", "after")
        hours = int(spoken_hour) if past else int(spoken_hour) - 1 or 12
        return Time(
            hours, int(part) if past else 60 - int(part), 0, (spoken_match["half"] or "").lower().replace(".", ""), True
        )
    if not (match[2] or match[4]):
        return None
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if hour > 24 or minute > 59 or second > 59:
        return None
    half = (match[4] or "").lower().replace(".", "").replace(" ", "")
    return Time(hour, minute, second, {"noon": "pm", "o'clock": ""}.get(half, half), bool(half))


def compare_times(left: str, right: str) -> Decision | None:
    """Two times of day, one of them said to be one; None where they are not (a bare 3:4 is a ratio)."""
    one, other = read_time(left), read_time(right)
    if one is None or other is None or not (one.said or other.said):
        return None
    if bool(one.half) != bool(other.half):
        if one[:3] == other[:3]:
            return True, "same_time"
        plain, named = (one, other) if other.half else (other, one)
        same = plain.hour % 24 == _hour(named) and plain[1:3] == named[1:3]
        same = same or (
            plain.hour <= 12 and plain.said and plain.hour % 12 == named.hour % 12 and plain[1:3] == named[1:3]
        )
        return same, "time"
    if not one.half and not other.half:
        return (one.hour % 12 == other.hour % 12 and one[1:3] == other[1:3]), "time"
    return (_hour(one), one[1:3]) == (_hour(other), other[1:3]), "time"


def _hour(time: Time) -> int:
    return time.hour % 12 + 12 if time.half == "pm" else time.hour % 12
