"""The one reader of quantities: sign, currency, digits in any locale, fraction, words, scale word, percent, unit.

Whatever reads a number of its own (golds, choices, charts, documents, texts, sentences) reads it by `read_quantity`, or
by `PARTS`, the pieces of the same grammar. Formulas have a parser of their own (`latex`), which shares scale words and
units with it.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.number_words import SCALES, number_from_words
from mmpr_pipeline.checking.values.expression import Expr, number_leaf

MOST_CHARS = 100
"""A longer text is no quantity, but for the digits of one number."""
COMMA_LANGUAGES = frozenset(
    "de fr es pt it nl ru pl cs sv da nb no fi tr el id vi uk ro hu bg hr sk sl lt lv et".split()  # noqa: SIM905
)
"""Languages that write 3,5 for three and a half."""

CURRENCY = r"(?:US|HK|AU|CA|NZ|A|C|S)?\\?\$|[€£¥₹]|\b(?:USD|EUR|GBP|JPY|CNY|RMB|INR|Rs\.?)(?= ?[-\d.])"
DIGITS = r"\d{1,15},\d{1,2}(?!\d|,\d|\.\d)|(?:\d{1,2}(?:,\d{2}){1,6},\d{3}(?!\d)|"
DIGITS += r"\d{1,3}(?:,\d{3}){1,6}|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40}"
POWER = r"(?:[eE][+-]?\d{1,4}|\s?(?:×|x|\*|\\times|\\cdot)\s?10\s?\^\s?\{?\s?[+-]?\d{1,4}\s?\}?)"
SCALE_WORDS = "|".join(sorted((name for name in SCALES if len(name) > 1 or not name.isascii()), key=len, reverse=True))
_LETTERS_OF_SCALE = {"k": 3, "K": 3, "M": 6, "B": 9, "m": 6, "b": 9, "t": 12, "T": 12}
"""Letters right after the digits: `5k`, `1.2M`; `m`, `b` and `t` only after a currency, where they are no unit."""

_QUANTITY = re.compile(
    rf"(?P<open>\()?\s?(?P<sign>[-+]|(?:negative|minus)\b)?\s?(?P<money>{CURRENCY})?\s?(?P<open2>\()?(?P<sign2>[-+])?\s?"
    r"(?:(?:(?P<mixed>\d{1,9})[ -])?(?P<top>\d{1,15})\s?/\s?(?P<bottom>\d{1,15})"
    r"|(?:(?P<whole>\d{1,9})[ -]?)?(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])"
    r"|(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d{1,300})?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d{1,300})?|\d{1,3}(?:'\d{3})+(?:\.\d{1,300})?|\d{1,300}(?:\.\d{0,300})?|\.\d{1,300}"
    r"|\d{1,3}(?:\.\d{3})+,\d{1,40}|\d{1,3}(?:\.\d{3}){2,6}|\d{1,3}(?: \d{3})+(?:[.,]\d{1,40})?|\d{1,40},\d{1,40})"
    r"(?:[eE](?P<exponent>[-+]?\d{1,3}))?)(?P<close>\))?"
    rf"(?:(?P<letter>[kKMBTmbt](?:n(?![a-z]))?)(?![A-Za-z/²³^])|\s?-?(?P<scale>{SCALE_WORDS})s?(?![A-Za-z]))?(?P<close2>\))?"
    r"\s?(?:(?P<percent>\\?%|percent\b|per cent\b|percentage points?\b|pct\b)|(?P<unit>[^\d\s()][^\d()]{0,39}?[23]?))?",
    re.IGNORECASE,
)
_VULGAR_TEXT = [
    "½",
    "1/2",
    "⅓",
    "1/3",
    "⅔",
    "2/3",
    "¼",
    "1/4",
    "¾",
    "3/4",
    "⅕",
    "1/5",
    "⅖",
    "2/5",
    "⅗",
    "3/5",
    "⅘",
    "4/5",
    "⅙",
    "1/6",
    "⅚",
    "5/6",
    "⅛",
    "1/8",
    "⅜",
    "3/8",
    "⅝",
    "5/8",
    "⅞",
    "7/8",
]
_VULGAR = dict(zip(_VULGAR_TEXT[::2], _VULGAR_TEXT[1::2], strict=True))
_CURRENCY_NAMES = [
    "dollar",
    "$",
    "usd",
    "$",
    "buck",
    "$",
    "美元",
    "$",
    "euro",
    "€",
    "eur",
    "€",
    "yuan",
    "¥",
    "rmb",
    "¥",
    "元",
    "¥",
    "人民币",
    "¥",
    "rupee",
    "₹",
    "gbp",
    "£",
]
_CURRENCY_WORDS = dict(zip(_CURRENCY_NAMES[::2], _CURRENCY_NAMES[1::2], strict=True)) | {c: c for c in "$€£¥₹"}
_WORDED = re.compile(
    r"(?P<words>[a-z][a-z -]{1,78}?|[负零一二三四五六七八九〇两兩十百千万亿分之点半成壹贰叁肆伍陆柒捌玖拾佰仟]{1,24})"
    r"(?P<percent> percent| per cent|%)?",
    re.IGNORECASE,
)
_CHINESE_DIGITS = "负零一二三四五六七八九〇两兩十百千万亿点"
_COUNTED = re.compile(rf"([{_CHINESE_DIGITS}分之半]{{1,24}}?)([^{_CHINESE_DIGITS}\W\d]{{1,4}})")
_AND_PART = re.compile(
    r"(\d{1,9}) and ((?:an?|one|two|three) (?:half|thirds?|quarters?|fourths?|fifths?|eighths?))", re.IGNORECASE
)
"""`2 and a quarter`."""
_DOLLARS_AND_CENTS = re.compile(r"(.{2,60}?) dollars?,? (?:and )?(.{2,30}?) cents?", re.IGNORECASE)


class Quantity(NamedTuple):
    """A number as written: its value with sign and scale word applied (but not its percent sign), and its dressing.

    `literal` keeps the digits of a decimal with the exponent that scales it, so that its precision is known; it is
    empty for an exact value. `zeros` counts those of the scale word. `bracketed` is the accountants' (12,632): no sign
    is written, and a loss is meant. `comma` says that a comma was read as the decimal point.
    """

    value: Fraction
    literal: str = ""
    zeros: int = 0
    percent: bool = False
    currency: str = ""
    unit: str = ""
    bracketed: bool = False
    comma: bool = False
    digits: str = ""

    @property
    def scale(self) -> float:
        """What the scale word is worth."""
        return float(10**self.zeros)


@lru_cache(maxsize=8192)
def read_quantity(text: str, language: str = "en") -> Quantity | None:
    """The quantity that a whole text is; None for anything else."""
    bare = undressed(text).removesuffix("/-") if len(text) <= MOST_CHARS else text  # `Rs. 500/-`
    if not bare or len(bare) > 700 or bare[-1] == "(":
        return None
    match = _QUANTITY.fullmatch(bare) if " and " not in bare else None
    if match is None:
        return _in_words(bare) if len(bare) <= MOST_CHARS else None
    if bool(match["open"] or match["open2"]) != bool(match["close"] or match["close2"]):
        return None
    letter = match["letter"] or ""
    money = (match["money"] or "").replace("\\", "")
    if letter and letter[0] in "mbtT" and len(letter) == 1 and not money:
        # `5m`: metres or millions; the letter counts as a unit.
        read = _number(match, "en")
        if read is None or match["unit"] or match["percent"] or match["open"]:
            return None
        negative = (match["sign"] or match["sign2"] or "+") not in "+"
        return Quantity(-read[0] if negative else read[0], read[1], unit=letter, digits=match["digits"] or "")
    zeros = SCALES[match["scale"].lower()] if match["scale"] else _LETTERS_OF_SCALE[letter[0]] if letter else 0
    number_read = _number(match, language)
    if number_read is None:
        return None
    value, literal, comma = number_read
    exponent = int(match["exponent"] or 0)
    if abs(exponent) > 300 - len(match["digits"] or ""):
        return None
    factor = SCALE_FACTORS.get((match["scale"] or "").lower(), 10**zeros)
    value *= factor * Fraction(10) ** exponent
    signs = [sign for sign in (match["sign"], match["sign2"]) if sign]
    if len(signs) > 1:
        return None
    bracketed = bool(match["open"] or match["open2"])
    if bracketed and not (money or zeros or match["percent"] or "," in (match["digits"] or "")):
        return None  # `(5)` and `(0.5)` are groups of a formula
    value = -value if signs and signs[0] != "+" else value
    unit = (match["unit"] or "").strip()
    unit = unit if unit.isupper() else unit.lower()
    if unit and (len(unit.split()) > 4 or not _UNIT_LIKE.fullmatch(unit)):
        return None
    currency = money[-1:] if money.endswith(("$", "€", "£", "¥", "₹")) else _CURRENCY_CODES.get(money.upper()[:2], "")
    worded = _CURRENCY_WORDS.get(unit.lower().rstrip("s")) if unit else None
    if worded:
        currency, unit = currency or worded, ""
    scaled = f"{literal}e{exponent + zeros}" if literal and (exponent or zeros) else literal
    percent, digits = bool(match["percent"]), match["digits"] or ""
    return Quantity(value, scaled, zeros, percent, currency, unit, bracketed, comma, digits)


_CURRENCY_CODES = {"US": "$", "EU": "€", "GB": "£", "JP": "¥", "CN": "¥", "RM": "¥", "IN": "₹", "RS": "₹"}
SCALE_FACTORS = {"dozen": 12}
"""Scale words that are no power of ten."""


def _number(match: re.Match[str], language: str) -> tuple[Fraction, str, bool] | None:
    """Value without sign and scale, its decimal literal, and whether a comma was the decimal point."""
    whole = Fraction(int(match["mixed"] or match["whole"] or 0))
    if match["top"]:
        bottom = int(match["bottom"])
        return None if bottom == 0 else (whole + Fraction(int(match["top"]), bottom), "", False)
    if match["vulgar"]:
        return whole + Fraction(_VULGAR[match["vulgar"]]), "", False
    digits = match["digits"].replace(" ", "").replace("'", "")
    comma = False
    if (
        re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|(?:0,\d+|\d+,(?:\d{1,2}|\d{4,40}))", digits)
        or (" " in match["digits"] and "," in digits)  # `1 234,500`
        or (language in COMMA_LANGUAGES and re.fullmatch(r"\d+,\d+", digits))
    ):
        digits, comma = digits.replace(".", "").replace(",", "."), True
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,6}", digits) or (
        language in COMMA_LANGUAGES and re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", digits)
    ):
        digits, comma = digits.replace(".", ""), True
    digits = digits.replace(",", "").rstrip(".") if not comma else digits
    return Fraction(digits), digits if "." in digits else "", comma


_UNIT_LIKE = re.compile(r"[A-Za-z°$€£¥₹%µμΩ\u4e00-\u9fff][\w°/²³^*·\- {}.\\]{0,39}")


def _in_words(text: str) -> Quantity | None:
    """`thirty-four`, `half`, `two thirds`, `three dozen`, 三分之二; dollars and cents."""
    cents = _DOLLARS_AND_CENTS.fullmatch(text)
    if cents:
        whole, part = (Fraction(p) if p.isdecimal() else number_from_words(p) for p in cents.groups())
        if whole is not None and part is not None:
            return Quantity(whole + part / 100, currency="$")
    mixed = _AND_PART.fullmatch(text)
    if mixed:
        share = number_from_words(mixed[2])
        return None if share is None else Quantity(int(mixed[1]) + share)
    if not text[0].isalpha():
        return None
    match = _WORDED.fullmatch(text)
    if match:
        value = number_from_words(match["words"])
        if value is not None:
            return Quantity(value, percent=bool(match["percent"]))
    counted = _COUNTED.fullmatch(text)
    head, _, noun = (counted[1], "", counted[2]) if counted else text.rpartition(" ")
    value = number_from_words(head) if head and noun.isalpha() and len(head) <= 80 else None
    if value is None:
        return None
    currency = _CURRENCY_WORDS.get(noun.lower().rstrip("s"), "")
    return Quantity(value, currency=currency, unit="" if currency else noun.lower())


def expression_of(quantity: Quantity) -> Expr:
    """The tree of a quantity."""
    negative = quantity.value < 0
    value = abs(quantity.value)
    if value.denominator == 1 or quantity.literal:
        expr = number_leaf(value, quantity.literal)
    else:
        expr = Expr("div", (number_leaf(value.numerator), number_leaf(value.denominator)))
    if negative:
        expr = Expr("neg", (expr,))
    if quantity.percent:
        expr = Expr("percent", (expr,))
    if quantity.currency:
        return Expr("quantity", (expr,), quantity.currency)
    return Expr("quantity", (expr,), quantity.unit) if quantity.unit else expr
