"""Numbers in words, English and Chinese: `twenty-one`, `two thirds`, 一百零五, 五分之三."""

from __future__ import annotations

import re
from fractions import Fraction

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {word: value for value, word in enumerate(_ONES)} | {w: 10 * i for i, w in enumerate(_TENS) if w != "_"}
SCALES = {"hundred": 2, "thousand": 3, "lakh": 5, "million": 6, "crore": 7, "billion": 9, "trillion": 12}
SCALES |= {"mn": 6, "bn": 9, "tn": 12, "mio": 6, "mrd": 9, "dozen": 0}
SCALES |= {"千": 3, "万": 4, "百万": 6, "千万": 7, "亿": 8, "万亿": 12}
"""Scale words -> zeros; a dozen has none, and is twelve (`quantity.SCALE_FACTORS`)."""
_LARGE = {name: 10**zeros for name, zeros in SCALES.items() if len(name) > 3} | {"dozen": 12}
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
_PARTS |= {"ninth": 9, "tenth": 10, "twelfth": 12, "hundredth": 100}
_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_FORMAL = str.maketrans("壹贰叁肆伍陆柒捌玖拾佰仟", "一二三四五六七八九十百千")
"""Numerals as cheques have them."""
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}
_CHINESE = re.compile(r"负?[零一二三四五六七八九〇两兩十百千万亿]{1,20}(?:点[零一二三四五六七八九〇]{1,12})?|半")
_SHARE = re.compile(r"(负?)([一二三四五六七八九十百千零]{1,10})分之([一二三四五六七八九十百千零]{1,10})")


def number_from_words(text: str) -> Fraction | None:
    """The value of a number written in words; None when the text is not wholly one."""
    text = text.strip().rstrip(".。").lower()
    if not 0 < len(text) <= 80:
        return None
    return _english(text) if text.isascii() else _chinese(text)


def _english(text: str) -> Fraction | None:
    words = text.replace("-", " ").split()
    if not words or any(not word.isalpha() for word in words):
        return None
    if words[0] in ("negative", "minus") and len(words) > 1:
        inner = _english(" ".join(words[1:]))
        return None if inner is None else -inner
    part = words[-1].removesuffix("s") if words[-1] != "halves" else "half"
    if words[0] == "half" and words[1:2] in (["a"], ["an"]) and len(words) > 2:  # `half a million`
        inner = _english(" ".join(["one", *words[2:]]))
        return None if inner is None else inner / 2
    if words in (["half", "a"], ["half", "an"]) or words == ["half"] or words == ["a", "quarter"]:
        return Fraction(1, 4 if words[-1] == "quarter" else 2)
    for at in range(1, len(words) - 1):  # `three and a half`, `two and three quarters`
        if words[at] == "and" and part in _PARTS:
            whole, rest = _whole(words[:at]), _english(" ".join(words[at + 1 :]))
            if whole is not None and rest is not None and rest < 1:
                return whole + rest
    if "point" in words[1:-1]:  # `three point one four`
        at = words.index("point")
        whole, digits = _whole(words[:at]), [_SMALL.get(word, 10) for word in words[at + 1 :]]
        if whole is None or max(digits) > 9:
            return None
        return whole + Fraction(int("".join(map(str, digits))), 10 ** len(digits))
    if words[0] == "a" and len(words) > 1 and words[1] in _LARGE:
        words = ["one", *words[1:]]
    if part in _PARTS and len(words) > 1:
        top = 1 if words[:-1] in (["a"], ["one"]) else _whole(words[:-1])
        return None if top is None else Fraction(top, _PARTS[part])
    value = _whole(words)
    return None if value is None else Fraction(value)


def _whole(words: list[str]) -> int | None:
    total = current = 0
    seen = False
    for word in words:
        if word in _SMALL:
            current += _SMALL[word]
        elif word in ("hundred", "dozen") and seen:
            current *= _LARGE[word]
        elif word in _LARGE and seen:
            total, current = total + current * _LARGE[word], 0
        elif word != "and" or not seen:
            return None
        seen = True
    return total + current if seen else None


def _chinese(text: str) -> Fraction | None:
    text = text.translate(_FORMAL)
    tenths = re.fullmatch(r"([一二三四五六七八九])成(半)?", text)
    if tenths:
        return Fraction(_DIGITS[tenths[1]], 10) + (Fraction(1, 20) if tenths[2] else 0)
    share = _SHARE.fullmatch(text)
    if share:
        bottom, top = _chinese_whole(share[2]), _chinese_whole(share[3])
        return None if not bottom or top is None else Fraction(-top if share[1] else top, bottom)
    if not _CHINESE.fullmatch(text):
        return None
    if text == "半":
        return Fraction(1, 2)
    negative = text.startswith("负")
    head, _, tail = text.lstrip("负").partition("点")
    whole = _chinese_whole(head)
    if whole is None:
        return None
    value = Fraction(whole) + (Fraction(int("".join(str(_DIGITS[c]) for c in tail)), 10 ** len(tail)) if tail else 0)
    return -value if negative else value


def _chinese_whole(text: str) -> int | None:
    if not text:
        return None
    if all(c in _DIGITS for c in text):
        return int("".join(str(_DIGITS[c]) for c in text))
    for unit, worth in (("亿", 10**8), ("万", 10**4)):
        if unit in text:
            high, _, low = text.partition(unit)
            first, second = _chinese_whole(high or "一"), _chinese_whole(low) if low else 0
            return None if first is None or second is None else first * worth + second
    total = digit = 0
    for char in text:
        if char in _DIGITS:
            digit = _DIGITS[char]
        else:
            total, digit = total + (digit or 1) * _CHINESE_UNITS[char], 0
    return total + digit
