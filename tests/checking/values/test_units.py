"""Units: what they are worth, and which measure the same."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mmpr_pipeline.checking.values.numbers.units import compare_units, is_counter, is_unit_word, parse_unit


@pytest.mark.parametrize(
    ("one", "other", "worth"),
    [
        ("m", "cm", 100),
        ("km", "m", 1000),
        ("km/h", "m/s", Fraction(5, 18)),
        ("hours", "minutes", 60),
        ("kg", "g", 1000),
        ("cm^2", "square centimeters", 1),
        ("m^2", "cm^2", 10_000),
        ("m^3", "L", 1000),
        ("平方厘米", "cm^2", 1),
        ("千米", "米", 1000),
        ("miles per hour", "mph", 1),
        ("N", "newtons", 1),
        ("feet", "inches", 12),
        ("dollars", "cents", 100),
        ("kWh", "J", 3_600_000),
    ],
)
def test_worth(one: str, other: str, worth: Fraction | int) -> None:
    assert compare_units(one, other) == (True, worth)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cm", "cm^2"),
        ("m", "s"),
        ("kg", "m"),
        ("J", "N"),
        ("$", "%"),
        ("dollars", "yuan"),
        ("m/s", "m/s^2"),
        ("平方米", "立方米"),
    ],
)
def test_other_measures(one: str, other: str) -> None:
    assert compare_units(one, other)[0] is False


def test_words_that_are_no_units_are_in_doubt() -> None:
    assert compare_units("apples", "apple")[0] is True
    assert compare_units("apples", "oranges")[0] is None
    assert parse_unit("toy helicopters") is None


def test_words() -> None:
    assert is_unit_word("cm")
    assert is_unit_word("厘米")
    assert not is_unit_word("m")  # Alone it may be a variable.
    assert is_counter("units")
    assert is_counter("个")
    assert not is_counter("cm")
