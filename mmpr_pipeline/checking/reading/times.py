"""Times of day and dates: the same time or day however it is written.

4:30 p.m. is 16:30, and 4:30 where the half of the day is not said; `quarter to six` is 5:45. Dates are written with a
month's name, or as ISO 8601.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.number_words import number_from_words
from mmpr_pipeline.checking.values.expression import Decision

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
_NAMED_TIMES = {"noon": (12, 0, 0, "pm"), "midday": (12, 0, 0, "pm"), "midnight": (0, 0, 0, "am")}


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
    if text.lower() in _NAMED_TIMES:
        return Time(*_NAMED_TIMES[text.lower()], True)
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


# ---- dates

_NAMES = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTHS = (
    {name: i for i, name in enumerate(_NAMES, 1)} | {name[:3]: i for i, name in enumerate(_NAMES, 1)} | {"sept": 9}
)
_NAME = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? )?"
_FORMS = [
    re.compile(rf"{_WEEKDAY}{_NAME} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>\d{{4}}))?"),
    re.compile(rf"{_WEEKDAY}(?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_NAME}(?:,? (?P<year>\d{{4}}))?"),
    re.compile(r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})"),
    re.compile(r"(?P<year>\d{4}) ?年 ?(?P<month>\d{1,2}) ?月 ?(?P<day>\d{1,2}) ?日"),
    re.compile(rf"{_NAME},? (?P<year>\d{{4}})"),
]


def read_date(text: str) -> tuple[int, int, int] | None:
    """(year, month, day), with 0 for a year or day not given; None if the text is not exactly one such date.

    `8/9/84` is left out: which number is the month is not known.
    """
    text = undressed(text[:60]).casefold()
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is None:
            continue
        parts = match.groupdict()
        month = _MONTHS.get(parts["month"]) or int(parts["month"])
        day, year = int(parts.get("day") or 0), int(parts.get("year") or 0)
        return (year, month, day) if 1 <= month <= 12 and day <= 31 else None
    return None


_NUMERIC = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})")


def _possible(text: str, language: str) -> list[tuple[int, int, int]]:
    """Every date that a text may be, the likelier one first: `3/5/2019` is March 5 in English, and may be May 3."""
    certain = read_date(text)
    if certain is not None:
        return [certain]
    match = _NUMERIC.fullmatch(undressed(text[:60]))
    if match is None:
        return []
    first, second, year = int(match[1]), int(match[2]), int(match[3])
    year += 0 if year > 99 else 2000 if year < 50 else 1900
    orders = [(year, first, second), (year, second, first)]
    found = [date for date in orders if 1 <= date[1] <= 12 and 1 <= date[2] <= 31]
    return found if language == "en" else found[::-1]


def same_date(a: str, b: str, language: str = "en") -> bool | None:
    """True for one day, False for two, None where it depends on which number is the month, or one is no date.

    A date without its year, or a month without its day, is no other date than one that says more: that is in doubt.
    """
    ones, others = _possible(a, language), _possible(b, language)
    if not ones or not others:
        return None
    if ones[0] == others[0]:
        return True
    for one in ones:
        for other in others:
            if all(x == y or not (x and y) for x, y in zip(one, other, strict=True)):
                return None
    return False
