r"""Numbers and formulas within prose: which number a sentence gives as its answer.

What is returned is the text of a number with its sign, currency, percent, degree and unit, or of a formula; deciding
its value is the matchers' work. Alternatives ("5 or 6"), ranges and bounds ("more than 5") give nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mmpr_pipeline.checking.reading.normalise import without_text_commands
from mmpr_pipeline.checking.reading.number_words import SCALES
from mmpr_pipeline.checking.reading.quantity import DIGITS, POWER, read_quantity
from mmpr_pipeline.checking.values.numbers.units import parse_unit

MOST_CHARS = 2_000
"""A longer sentence gives no number."""

_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred""".split()  # noqa: SIM905
_SMALL_WORD = rf"(?:{'|'.join(_WORDS[20:-1])})[-\s](?:{'|'.join(_WORDS[1:10])})\b|(?:{'|'.join(_WORDS)})"
_WORD = (
    rf"(?:(?:negative|minus)\s)?(?:{_SMALL_WORD})\b"
    rf"(?:\s(?:hundred|thousand|million)\b(?:\s(?:and\s)?(?:{_SMALL_WORD})\b(?!\s(?:of|are|is|were|was)\b))?){{0,3}}"
)
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.^\\])(?<![\^_][{{(])(?P<sign>[-+±]\s?|(?:negative|minus)\s)?(?P<money>(?:US|HK|C|A)?[$€£¥₹]|\\\$)?(?P<sign2>-)?"
    rf"(?:(?P<ratio>\d{{1,9}}(?:\.\d{{1,9}})?(?:\s?:\s?\d{{1,9}}(?:\.\d{{1,9}})?){{1,3}})|(?P<surd>(?:\d{{1,15}}(?:\.\d{{1,15}})?\s?\*?\s?)?(?:π|\\pi(?![a-z])|√\s?\(?\{{?\d{{1,15}}\}}?\)?"
    rf"|\\sqrt\s?\{{[^{{}}]{{1,40}}\}})"
    rf"(?:\s?/\s?\d{{1,15}})?)|(?P<latex>\\[dt]?frac\s?\{{[^{{}}]{{1,40}}\}}\s?\{{[^{{}}]{{1,40}}\}})"
    rf"|(?P<mixed>\d{{1,6}}\s?\+?\s?\d{{1,6}}/\d{{1,6}})|(?P<fraction>\d{{1,15}}\s?/\s?\d{{1,15}})"
    rf"|(?P<digits>{DIGITS})(?P<power>{POWER})?)"
    rf"(?!\d)(?P<suffix>\s?(?:\\?%|°[CF]?|\^?\\?\^?\{{?\\circ\}}?))?(?P<degree>\s(?:percent|degrees)\b)?"
    rf"|\b(?=[efhmnostz])(?P<word>{_WORD})\b",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r"(?:\s|-)?(?P<unit>(?:(?:square|cubic|sq\.?|cu\.?)\s)?(?P<name>[A-Za-zµμΩ°Å]{1,16})(?:\^\{?-?[23]\}?|[²³23])?"
    r"(?:/[a-zA-Z]{1,4}(?:\^\{?[23]\}?|[²³])?)?)(?![A-Za-z0-9_])"
    r"|(?P<zh>(?:百万|千万|万亿|[千万亿])(?:美元|欧元|日元|元)?)"
)
_NO_UNITS = frozenset("a A u U d t G B M M. pt pc au AU turn grain stone score bar cup carat".split()) - {"bar", "cup"}  # noqa: SIM905
"""Words of the table of units that mean something else in most sentences."""

_SCALE_LETTERS = frozenset("kKMB")
"""Right behind the digits they are read as thousands and more: `300k people`, and with a blank as units: `300 K`."""


def unit_after(match: re.Match[str], text: str) -> re.Match[str] | None:
    """The unit of measure, the scale word or the word `units` that follows a number; None if another word does."""
    unit = _UNIT.match(text, match.end())
    if unit is None or unit["zh"]:
        return unit
    if unit.group() in _SCALE_LETTERS:
        return unit
    if unit["name"] in _NO_UNITS:
        return None
    name = unit["name"].lower()
    if name in SCALES or name in ("unit", "units", "k") or parse_unit(unit["unit"]) is not None:
        return unit
    return None


_BOUND = re.compile(
    r"(?:(?:more|less|fewer|greater|larger|smaller|higher|lower|other|rather) than(?: or equal to)?|at least"
    r"|at most|over"
    r"|under|below|above|up to|between|from|not|n't|only if|exceeds?|<|>|≤|≥) $",
    re.IGNORECASE,
)
_RANGE_AFTER = re.compile(r"^\s?(?:(?:or|to|or perhaps|or maybe|~)\s|-\s?)(?=[$€£-]?\d)", re.IGNORECASE)
_AND_ANOTHER = re.compile(r"^,?\s(?:and|&)\s(?=[$€£]?-?\d{1,15}(?:\.\d{1,15})?\s?[.,;!]?\s*$)")
"""`1 and 9`, and there the clause ends: two answers, not `2 and 1/2`."""
_MORE_AFTER = re.compile(r"^(?:,\s[$€£]?-?\d{1,15}(?:\.\d{1,15})?){1,8}(?:,?\s(?:and|&)\s(?=[$€£]?-?\d)|\s?[.;!]?\s*$)")
"""`3, 4 and 5 apples`, `3, 4`: as many answers."""
_SAME_AFTER = re.compile(r"^[\s,(]{0,3}or\s", re.IGNORECASE)
COPULA = re.compile(
    r"(?:'s\b|\b(?:is|are|was|were|be|been|equals?|equal to|total(?:s|ed)?|gives?|gets?|get|becomes?|has|have|had"
    r"|needs?|spends?|costs?|makes?|made|takes?|contains?|remain(?:s|ing)?|left|by|approximately|about|about|around"
    r"|roughly|exactly)|[=≈:]|是|为|等于|有|共)\s{0,2}"
    r"(?:(?:approximately|about|around|roughly|exactly|only|just|therefore|thus|equal to|a total of|now|also|still"
    r"|indeed|simply|likely|the number|to|by|at)\s){0,3}(?:\$|\\\(|\\\[|\*\*)?\s{0,2}$",
    re.IGNORECASE,
)


@lru_cache(maxsize=1_024)
def quantities(text: str) -> tuple[re.Match[str], ...]:
    """Numbers of a text in order, number words among them (only where they count something that is new)."""
    return tuple(match for match in NUMBER.finditer(text) if _stands_alone(match, text))


def _stands_alone(match: re.Match[str], text: str) -> bool:
    """False for a number word that counts nothing new, a pronoun say, and for what is a part of something else."""
    if match["word"]:
        before = text[max(match.start() - 40, 0) : match.start()]
        if _KNOWN.search(before) or _TIMES.match(text, match.end()):
            return False
        if match["word"].lower() == "one":
            after = text[match.end() : match.end() + 12].lstrip()
            if _CHOSEN_ONE.search(before) or after.startswith(_AFTER_PRONOUN):
                return False
    if match["sign"] and match["sign"].strip() == "+" and _OPERAND.search(text, 0, match.start()):
        return False
    if _PART.match(text, match.end()):
        return False
    if re.match(r"\d{3}(?!\d)", match.group()) and _THOUSANDS.search(text, 0, match.start()):
        return False
    return text[match.end() : match.end() + 1] != ")" or _FUNCTION.search(text, 0, match.start()) is None


_PART = re.compile(
    r"[.:,']\d|[ \u202f]\d{3}(?!\d)|\s?[½-¾⅐-⅞⁰¹²³⁴-⁹·⋅]"
    r"|-?ish\b|\s?/\s?$|\s?(?:x|[*^×÷+=<>≤≥])(?![a-z])|[A-Za-z](?=[²³^]|\b)(?<![a-zA-Z]{2})(?<![mgsLlKkVWANJ])",
    re.IGNORECASE,
)
_TIMES = re.compile(r"\s(?:times|fold)\s(?:the|as|that|its|larger|smaller|more|bigger|longer)\b", re.IGNORECASE)
"""What makes a number a part of something else: `5.0.1`, `5:00`, `1 234`, `3½`, `5x`; `four times the length`."""


_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}[ \u202f]$")
"""What the `234` of `1 234` belongs to."""
_OPERAND = re.compile(r"[A-Za-z0-9)}]\s?$")
"""What stands before the sign of a sum: the `+ 1` of `2x + 1` is no number of its own."""
_FUNCTION = re.compile(r"(?<![A-Za-z])[A-Za-z]\($")
"""The 0 of `f(0)` is no answer."""
_KNOWN = re.compile(r"\b(?:the|these|those|other|first|last|past|next)\s$", re.IGNORECASE)
"""`the two people`, `of the three`: not counted here, but known."""
_CHOSEN_ONE = re.compile(
    r"\b(?:the|this|that|which|each|every|another|any|no|either)\s(?:[a-z]+\s){0,2}$", re.IGNORECASE
)


_AFTER_PRONOUN = (
    "of ", "that", "who", "can", "is", "could", "would", "might", "with", "person", "on the", "another",
)  # fmt: skip
"""What follows `one` where it is a pronoun."""


def with_unit(match: re.Match[str], text: str) -> str:
    """The text of a number with the unit that follows it, if one does."""
    number = match.group().strip()
    number = number if match["word"] else re.sub(r"^(?:negative|minus)\s", "-", number, flags=re.IGNORECASE)
    unit = unit_after(match, text)
    if unit and unit.group().strip() == "in" and _PLACE.match(text, unit.end()):
        unit = None
    if unit and unit.group() in _SCALE_LETTERS and not match["word"]:
        return f"{number}{unit.group()}"
    name = (unit["name"] or "") if unit else ""
    if unit and (not match["money"] or unit["zh"] or name.lower() in SCALES or name in ("k", "K")):
        rate = _RATE.match(text, unit.end())
        return f"{number} {unit.group().strip(' -')}{rate.group() if rate else ''}"
    behind = _MONEY_BEHIND.match(text, match.end())
    return f"{behind.group().strip()}{number}" if behind and not match["money"] else number


_PLACE = re.compile(r"\s(?:\d{4}\b|[a-z])", re.IGNORECASE)
"""What follows `in` where it is no inch: `45 in 2015`, `3 in total`."""
_RATE = re.compile(r" per [a-z]{1,12}\b")
_MONEY_BEHIND = re.compile(r"\s?[€£¥₹]")


def number_alone(text: str) -> str | None:
    """A text that is one number and its unit or currency, with a blank between them; None for anything else."""
    match = NUMBER.match(text)
    if match is None or match["word"]:
        return None
    unit = unit_after(match, text) or _MONEY_BEHIND.match(text, match.end())
    return with_unit(match, text) if unit and unit.end() == len(text) else None


_GIVEN = re.compile(
    r"(?:[=≈]|\b(?:is|are|was|were|equals?)\b)\s{0,2}(?:(?:approximately|about|roughly|exactly|only|just)\s){0,2}"
    r"(?=\$?\\?[-+]?[$€£]?\.?[\d\\])"
)


def first_number(clause: str) -> str | None:
    """The number that an announced clause gives: after its last `=` or `is`, else its first; None for a range."""
    marks = list(_GIVEN.finditer(clause))
    text = clause[marks[-1].end() :] if marks else clause
    bracketed = re.search(r"\[\s?([-+]?[\d./]{1,20})\s?\]", text)
    if bracketed:
        return bracketed[1]
    found = quantities(text)
    if not found or is_vague(found[0], text):
        return None
    return with_unit(found[0], text)


_FRACTION_WORD = re.compile(
    r"^[\s-](?:and (?:a|one) half|half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|hundred"
    r"|thousand|million|billion|dozen|score)\b",
    re.IGNORECASE,
)


def is_vague(match: re.Match[str], text: str) -> bool:
    """True for a number that is one of alternatives, an end of a range, or a bound."""
    before, after = text[max(match.start() - 40, 0) : match.start()], text[match.end() : match.end() + 40]
    if _BOUND.search(before.rstrip() + " ") or (match["word"] and _FRACTION_WORD.match(after)):
        return True
    unit = unit_after(match, text)
    after = text[unit.end() : unit.end() + 40] if unit else after
    if _AND_ANOTHER.match(after) or _MORE_AFTER.match(after):
        return True
    if not _RANGE_AFTER.match(after):
        return False
    following = quantities(after)
    return not (following and same_number_twice(match.group(), following[0].group()))


def offers_two(text: str) -> bool:
    """True for two different numbers with `or` between them."""
    for joined in re.finditer(r"\s(?:or|and/or)\s|或者?", text[:MOST_CHARS]):
        before, after = quantities(text[: joined.start()]), quantities(text[joined.end() : joined.end() + 60])
        if before and after and not same_number_twice(before[-1].group(), after[0].group()):
            return True
    return False


def same_number_twice(a: str, b: str) -> bool:
    """`0.2 or 20%`, `0.247, or 1/4`: the same number said twice, to two digits."""
    left, right = _rough(a), _rough(b)
    return left is not None and right is not None and abs(left - right) <= 0.02 * max(abs(left), abs(right))


def _rough(text: str) -> float | None:
    read = read_quantity(text)
    return None if read is None else float(read.value) / (100 if read.percent else 1)


def plain_number(text: str) -> str:
    """What numbers are told apart by: their value, or their text where it is a formula."""
    read = read_quantity(text)
    return str(read.value) if read is not None else re.sub(r"[\s,$€£%\\]", "", text.lower())


# ---- formulas

_MATH = re.compile(
    r"\$\$(?P<a>.{1,800}?)\$\$|\$(?P<b>[^$\n]{1,400})\$|\\\((?P<c>.{1,800}?)\\\)|\\\[(?P<d>.{1,800}?)\\\]", re.DOTALL
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}(?![A-Za-z]*\()|[\u4e00-\u9fff]")
_COMMAND = re.compile(r"\\(?:begin|end)\s?\{[A-Za-z]{1,12}\*?\}|\\[A-Za-z]+")
_VALUE = re.compile(r"\\(?:infty|emptyset|varnothing|mathbb|pi|theta|alpha|beta|lambda|phi|omega)(?![A-Za-z])|[∞∅]")
"""Signs that are a value of their own: a formula may hold neither letter nor digit beside them."""
_NOT_PROSE = frozenset(
    "and sin cos tan cot sec csc log exp min max lim arcsin arccos arctan degrees units gcd lcm mod det".split()  # noqa: SIM905
)


def is_formula(text: str) -> bool:
    """True for text without words of prose: digits, letters, commands and signs only."""
    bare = _COMMAND.sub(" ", without_text_commands(text)) if "\\" in text else text
    if any(word.lower() not in _NOT_PROSE for word in _PROSE.findall(bare)):
        return False
    return any(map(str.isalnum, bare)) or _VALUE.search(text) is not None


def math_segments(text: str) -> list[re.Match[str]]:
    r"""Every `$...$`, `\(...\)`, `\[...\]` of a text."""
    return list(_MATH.finditer(text)) if "$" in text or "\\" in text else []


def first_formula(clause: str) -> str | None:
    """The formula that an announced clause gives: all of it, its leading math, or what follows its last copula."""
    text = clause.strip().rstrip(".。")
    if is_formula(text):
        return number_alone(text) or re.sub(r"^\[\s?([^\[\],]+)\s?\]$", r"\1", text)
    segments = math_segments(text)
    if segments and is_formula_like_prefix(text[: segments[0].start()]):
        # The first segment and those joined to it by a comma or `and`, as one text.
        end = segments[0].end()
        for segment in segments[1:]:
            if not re.fullmatch(r"[\s,;]{0,3}(?:and|or)?[\s,;]{0,3}", text[end : segment.start()]):
                break
            end = segment.end()
        return text[segments[0].start() : end]
    part = re.split(r"\s(?:is|are|be|equals|becomes|will be|as|by)\s|:\s|是|为|等于", text)[-1].strip()
    if part != text and part:
        return first_formula(part) if len(part) < len(text) else None
    lead = re.match(r"^[^A-Za-z\u4e00-\u9fff]*(?:[-+]?\d[^A-Za-z\u4e00-\u9fff]*)(?=\s?[A-Za-z\u4e00-\u9fff])", text)
    if lead and not segments:
        return first_number(text)
    return None


def bracketed(text: str) -> str | None:
    """The one bracketed list of a sentence: `[1, 2]` in "The list is [1, 2]."; None if there are more, or none."""
    found = re.findall(r"\[[^\[\]]{1,500}\]", text)
    return found[0] if len(found) == 1 and "," in found[0] else None


def is_formula_like_prefix(text: str) -> bool:
    """True if nothing but marks or one short word stands before a formula."""
    return len(re.findall(r"\w+", text)) <= 1
