"""Units of measure: what a unit is worth, so that `5 cm` is `0.05 m` and never `5 m`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from mmpr_pipeline.checking.values.expression import Expr
from mmpr_pipeline.checking.values.numbers.unit_table import UNITS, Dimensions

_F = Fraction
UNIT_LETTERS = frozenset("msghLNJWVAKCltTFH")
_PLURAL_OK = frozenset(name for name in UNITS if name.isascii() and len(name) > 2)
_TWO_LETTERS = frozenset(
    """cm mm km dm nm um kg mg ug ms us ns ft in yd mi lb oz hr kN mN kJ mJ MJ kW mW MW GW Pa Hz mA uA kV mV MV nF uF pF
    mF mH uH nH mT nT Wb eV ml mL dL uL cc kB MB GB TB Bq Gy Sv mM uM nM nC uC mC pC rs Rs""".split()  # noqa: SIM905
)
"""Units of two letters that a number may be followed by without a doubt; `2kn` is a product, not knots."""
_WRITTEN = str.maketrans({"\\": "", "{": "", "}": "", "²": "^2", "³": "^3", "⁻": "^-", "¹": "1", "−": "-"})
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
    r"|instead|except|unknown|ish)\b|[不非未超多少]|以上|以下|左右",
    re.IGNORECASE,
)


class Unit(NamedTuple):
    """A unit: its worth in base units, its dimensions in sorted order, and its name as written."""

    worth: Fraction
    dimensions: tuple[tuple[str, int], ...]
    name: str


def _lookup(name: str) -> tuple[Fraction, Dimensions] | None:
    lower = name.lower()
    forms = [name] if len(name) <= 3 else [name, lower]
    if len(name) > 2:
        forms.append(lower)
    if lower.endswith("s") and lower[:-1] in _PLURAL_OK:
        forms.append(lower[:-1])
    if lower.endswith("es") and lower[:-2] in _PLURAL_OK:
        forms.append(lower[:-2])
    return next((UNITS[form] for form in forms if form in UNITS), None)


def is_unit_word(word: str) -> bool:
    """Whether a bare word after a number is a unit: any known name of two letters or more."""
    if word.lower() in _SHAPES:
        return True
    if len(word) == 2 and word.isascii():
        return word in _TWO_LETTERS
    return (len(word) > 1 and _lookup(word) is not None) or (word in UNITS and not word.isascii())


@lru_cache(maxsize=2048)
def parse_unit(text: str) -> Unit | None:
    """The unit that a text names (`cm^2`, `m s^{-2}`, `square feet`, `miles per hour`, 平方厘米); None if not known."""
    text = text.strip().strip(".").translate(_WRITTEN).strip()
    if not text or len(text) > 60:
        return None
    worth = _F(1)
    dimensions: dict[str, int] = {}
    sign = 1
    for part in re.split(r"(\*|/|\bper\b|·|⋅|每)", text):
        part = part.strip()
        if part in ("/", "per", "每"):
            sign = -1
        if part in ("/", "per", "*", "·", "⋅", "每", ""):
            continue
        # One unit, or several side by side: `m s^-2`.
        rest = part
        whole = _parse_atom(rest)
        if whole is not None or " " not in rest:
            atoms = None if whole is None else [whole]
        else:
            parse_atoms = [_parse_atom(part) for part in rest.split()]
            atoms = (
                None
                if None in parse_atoms or len(parse_atoms) > 4
                else [atom for atom in parse_atoms if atom is not None]
            )
        if atoms is None:
            return None
        for value, of in atoms:
            worth *= value**sign
            for name, power in of:
                dimensions[name] = dimensions.get(name, 0) + sign * power
    kept = tuple(sorted((k, v) for k, v in dimensions.items() if v))
    return Unit(worth, kept, text)


_Atom = tuple[Fraction, Dimensions]


def _parse_atom(text: str) -> _Atom | None:
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
    return found[0] ** power, tuple((name, of * power) for name, of in found[1])


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


_TWO_MEANINGS = {"¥": "JPY", "pound": "GBP"}
"""Names of two units, and the second one: `¥` is yuan or yen, and a pound is money too."""


def perhaps_another_unit(unit: str, ratio: Fraction) -> bool:
    """True where a bare number is `ratio` times a quantity, and some unit of that measure is worth so much less: days
    for weeks."""
    known = parse_unit(unit)
    return (
        known is not None
        and ratio > 0
        and any(of == known.dimensions and worth * ratio == known.worth for worth, of in UNITS.values())
    )


def compare_units(left: str, right: str) -> tuple[bool | None, Fraction]:
    """Whether two unit texts measure the same thing, and what one `left` is worth in `right`.

    None means in doubt: at least one is a word that we do not know and they are not the same word.
    """
    left, right = _TRAILING.sub("", left), _TRAILING.sub("", right)
    if noun_key(left) == noun_key(right) and left.strip().lower() == right.strip().lower():
        return True, _F(1)
    one, other = parse_unit(left), parse_unit(right)
    if one is not None and other is not None:
        if {_TWO_MEANINGS.get(noun_key(left) or left, ""), _TWO_MEANINGS.get(noun_key(right) or right, "")} & {
            part[0] for part in (*one.dimensions, *other.dimensions)
        } and one.dimensions != other.dimensions:
            return True, _F(1)
        return one.dimensions == other.dimensions, one.worth / other.worth
    if one is None and other is None and noun_key(left) == noun_key(right):
        return True, _F(1)
    return None, _F(1)
