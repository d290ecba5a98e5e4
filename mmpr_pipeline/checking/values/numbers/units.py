"""Units of measure: what a unit is worth, so that `5 cm` is `0.05 m` and never `5 m`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from mmpr_pipeline.checking.values.expression import Expr

_F = Fraction
_PI = _F("3.14159265358979323846")
# name -> (worth in base units, dimensions). Dimensions are letters: L length, M mass, T time, A angle, I current,
# K temperature, B information, $ money by currency, N amount.
_BASE: dict[str, tuple[Fraction, str]] = {}


def _define(dimension: str, **units: object) -> None:
    for names, worth in units.items():
        for name in names.split("__"):
            _BASE[name.replace("_", " ")] = (Fraction(str(worth)), dimension)


_define("L", m__meter__metre__米=1, cm__centimeter__centimetre__厘米="0.01", mm__millimeter__millimetre__毫米="0.001",
        km__kilometer__kilometre__千米__公里=1000, dm__decimeter__decimetre__分米="0.1", nm__nanometer__纳米="1e-9",
        um__micrometer__micron__微米="1e-6", inch__in="0.0254", ft__foot__feet="0.3048", yd__yard="0.9144",
        mi__mile="1609.344")  # fmt: skip
_define("M", kg__kilogram__千克__公斤=1, g__gram__克="0.001", mg__milligram__毫克="1e-6", ton__tonne__吨=1000,
        lb__lbs__pound="0.45359237", oz__ounce="0.028349523125")  # fmt: skip
_define("T", s__sec__second__秒=1, min__minute__分钟=60, h__hr__hour__小时__时=3600, day__天__日=86400, week__周=604800,
        ms__millisecond__毫秒="0.001", year__yr__年=31557600, month__月="2629800")  # fmt: skip
_define("A", deg__degree__度=str(_PI / 180), rad__radian__弧度=1)
_define("L3", l__L__liter__litre__升="0.001", ml__mL__milliliter__millilitre__毫升="1e-6", gallon__gal="0.003785411784")
_define("L2", hectare__公顷=10000, acre="4046.8564224")
_define("LMT-2", N__newton__牛__牛顿=1, kN__kilonewton=1000)
_define("L2MT-2", J__joule__焦__焦耳=1, kJ__kilojoule__千焦=1000, eV="1.602176634e-19", cal="4.184", kcal=4184,
        kWh=3600000)  # fmt: skip
_define("L2MT-3", W__watt__瓦__瓦特=1, kW__kilowatt__千瓦=1000, MW=1000000, mW="0.001")
_define("L-1MT-2", Pa__pascal__帕=1, kPa=1000, MPa=1000000, atm=101325)
_define("T-1", Hz__hertz__赫兹=1, kHz=1000, MHz=1000000)
_define("I", A__ampere__amp__安__安培=1, mA="0.001")
_define("L2MT-3I-1", V__volt__伏__伏特=1, kV=1000, mV="0.001")
_define("L2MT-3I-2", ohm__Ω__欧__欧姆=1, kΩ=1000)
_define("TI", C__coulomb__库仑=1)
_define("K", K__kelvin=1)
_define("degC", celsius__摄氏度=1)
_define("degF", fahrenheit=1)
_define("N", mol__mole__摩尔=1)
_define("USD", **{"$": 1, "dollar__usd__buck__美元": 1, "cent": "0.01"})
_define("CNY", **{"元__yuan__rmb__¥__cny__块": 1, "角": "0.1", "分钱": "0.01"})
_define("EUR", **{"€__euro__eur": 1})
_define("INR", **{"₹__rupee__rs__inr__卢比": 1})
_define("JPY", **{"日元__yen__jpy": 1})
_define("GBP", **{"£__gbp": 1})
_define("%", **{"%__percent__百分": 1})
_define("bit", bit=1, byte=8)

_define("LT-1", mph="0.44704", kph__kmh="0.2777777777777777777777777778")
UNIT_LETTERS = frozenset("msghLNJWVAKClt")
_PLURAL_OK = frozenset(name for name in _BASE if name.isascii() and name.isalpha() and len(name) > 2)
_SHAPES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}
_ASKED = re.compile(
    r"\b(?:in|how many|number of|to the nearest)\s((?:square\s|cubic\s)?[A-Za-z]{1,12}(?:\sper\s[a-z]{1,10})?)\b",
    re.IGNORECASE,
)
_TRAILING = re.compile(r"\s(?:old|ago|long|high|tall|wide|deep|apart|away|in total|in all|altogether|total|each|only)$")
_ATOM = re.compile(r"([^\d^*/]+?)(?:\s*\^\s*\(?(-?\d)\)?|(-?\d))?$")
_IGNORED = ("units", "unit", "个", "units.", "单位")
_COUNTERS = frozenset("个只条张本人名支枝块次种件倍棵辆头组页位")


# Words that make a phrase after a number something else than its unit: `5 is not the answer`, `5 more than Tom`.
NOT_IN_A_UNIT = re.compile(
    r"\b(?:not|no|never|than|is|are|was|were|isn't|more|less|fewer|least|most|maybe|perhaps|but|wrong|incorrect|cannot|or"
    r"|unless|from|between|if|plus|minus|divided|over|under|above|below|greater|larger|smaller|twice|half|double|nor"
    r"|instead|except|unknown)\b|[不非未超多少]|以上|以下|左右",
    re.IGNORECASE,
)


class Unit(NamedTuple):
    """A unit: its worth in base units, its dimensions in sorted order, and its name as written."""

    worth: Fraction
    dimensions: tuple[tuple[str, int], ...]
    name: str


def _split_dimension(dimension: str) -> dict[str, int]:
    if (len(dimension) > 2 and dimension.isalpha()) or dimension in ("%", "K", "N", "bit"):
        return {dimension: 1}
    return {m[1]: int(m[2] or 1) for m in re.finditer(r"([A-Z])(-?\d)?", dimension)}


def _lookup(name: str) -> tuple[Fraction, dict[str, int]] | None:
    for candidate in _spellings(name):
        if candidate in _BASE:
            worth, dimension = _BASE[candidate]
            return worth, _split_dimension(dimension)
    return None


def _spellings(name: str) -> list[str]:
    lower = name.lower()
    forms = [name] if len(name) <= 3 else [name, lower]
    if len(name) > 2:
        forms.append(lower)
    if lower.endswith("s") and lower[:-1] in _PLURAL_OK:
        forms.append(lower[:-1])
    if lower.endswith("es") and lower[:-2] in _PLURAL_OK:
        forms.append(lower[:-2])
    return forms


def is_unit_word(word: str) -> bool:
    """Whether a bare word after a number is a unit: any known name of two letters or more."""
    if word.lower() in _SHAPES:
        return True
    return (len(word) > 1 and _lookup(word) is not None) or (word in _BASE and not word.isascii())


@lru_cache(maxsize=2048)
def parse_unit(text: str) -> Unit | None:
    """The unit that a text names (`cm^2`, `km/h`, `square feet`, `miles per hour`, `平方厘米`); None if not known."""
    text = text.strip().strip(".").replace("\\", "").replace("{", "").replace("}", "").strip()
    if not text or len(text) > 60:
        return None
    worth = _F(1)
    dimensions: dict[str, int] = {}
    sign = 1
    for part in re.split(r"(\*|/|\bper\b|·|每)", text):
        part = part.strip()
        if part in ("/", "per", "每"):
            sign = -1
        if part in ("/", "per", "*", "·", "每", ""):
            continue
        atom = _parse_atom(part)
        if atom is None:
            return None
        worth *= atom[0] ** sign
        for name, power in atom[1].items():
            dimensions[name] = dimensions.get(name, 0) + sign * power
    kept = tuple(sorted((k, v) for k, v in dimensions.items() if v))
    return Unit(worth, kept, text)


def _parse_atom(text: str) -> tuple[Fraction, dict[str, int]] | None:
    power = 1
    for word, shape in _SHAPES.items():
        if text.lower().startswith(word) and len(text) > len(word):
            text, power = text[len(word) :].strip(" ."), shape
            break
    lower = text.lower()
    for word in (" squared", " cubed"):
        if lower.endswith(word):
            text, power = text[: -len(word)], 2 if word == " squared" else 3
    match = _ATOM.match(text)
    if match is None:
        return None
    found = _lookup(match[1].strip().strip("."))
    if found is None:
        return None
    power *= int(match[2] or match[3] or 1)
    worth = found[0] ** power
    return worth, {k: v * power for k, v in found[1].items()}


@lru_cache(maxsize=512)
def asked_unit(question: str) -> Unit | None:
    """The unit that a question asks its answer in (`in square meters`, `how many minutes`); None if it names none."""
    found = [parse_unit(match[1]) for match in _ASKED.finditer(question[-600:])]
    known = [unit for unit in found if unit is not None]
    return known[-1] if known and all(unit.dimensions == known[-1].dimensions for unit in known) else None


def noun_key(text: str) -> str:
    """A counted noun without its number: `apples` and `apple` are one."""
    words = re.sub(r"[^\w\s]", " ", text.lower()).split()
    return " ".join(w[:-1] if len(w) > 3 and w.endswith("s") else w for w in words if w not in ("the", "a", "an", "of"))


def is_counter(text: str) -> bool:
    """Whether the text is a bare measure word or the word `units`, which says nothing of a unit."""
    return text.strip().lower() in _IGNORED or (len(text.strip()) == 1 and text.strip() in _COUNTERS)


def added(parts: Sequence[Expr]) -> Expr | None:
    """Quantities of one measure in falling units as one quantity in the first unit; None where they are not that."""
    units = [parse_unit(str(part.value)) if part.op == "quantity" else None for part in parts]
    known = [unit for unit in units if unit is not None]
    if len(known) != len(parts) or any(unit.dimensions != known[0].dimensions for unit in known):
        return None
    if any(later.worth >= earlier.worth for earlier, later in pairwise(known)):
        return None
    total = Fraction(0)
    for part, unit in zip(parts, known, strict=True):
        value = part.args[0].value
        if not isinstance(value, Fraction):
            return None
        total += value * unit.worth / known[0].worth
    return Expr("quantity", (Expr("num", (), total),), parts[0].value)


def compare_units(left: str, right: str) -> tuple[bool | None, Fraction]:
    """Whether two unit texts measure the same thing, and what one `left` is worth in `right`.

    None means in doubt: at least one is a word that we do not know and they are not the same word.
    """
    left, right = _TRAILING.sub("", left), _TRAILING.sub("", right)
    if noun_key(left) == noun_key(right) and left.strip().lower() == right.strip().lower():
        return True, _F(1)
    one, other = parse_unit(left), parse_unit(right)
    if one is not None and other is not None:
        return one.dimensions == other.dimensions, one.worth / other.worth
    if one is None and other is None and noun_key(left) == noun_key(right):
        return True, _F(1)
    return None, _F(1)
