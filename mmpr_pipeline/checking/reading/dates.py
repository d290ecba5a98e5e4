"""Calendar dates written with a month's name, or as ISO 8601: the same day however it is written."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.reading.normalise import undressed

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
