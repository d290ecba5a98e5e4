"""Numbers in words."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mmpr_pipeline.checking.reading.number_words import number_from_words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seven", 7),
        ("twenty-one", 21),
        ("one hundred and five", 105),
        ("two thousand three hundred", 2300),
        ("three million", 3_000_000),
        ("negative four", -4),
        ("a half", Fraction(1, 2)),
        ("three quarters", Fraction(3, 4)),
        ("二十五", 25),
        ("十二", 12),
        ("一百零五", 105),
        ("三千二百", 3200),
        ("两万", 20_000),
        ("一亿二千万", 120_000_000),
        ("二〇二四", 2024),
        ("五分之三", Fraction(3, 5)),
        ("负三", -3),
        ("half", Fraction(1, 2)),
        ("two and three quarters", Fraction(11, 4)),
        ("three dozen", 36),
        ("一百二十三点五", Fraction(247, 2)),
    ],
)
def test_values(text: str, value: Fraction | int) -> None:
    assert number_from_words(text) == value


@pytest.mark.parametrize(
    "text", ["", "and", "hundred", "seven apples", "not seven", "some", "三角形", "百分之五十吧", "x", "one or two"]
)
def test_other_words(text: str) -> None:
    assert number_from_words(text) is None
