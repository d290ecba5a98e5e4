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
