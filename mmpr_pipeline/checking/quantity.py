r"""Numbers and formulas within prose: which number a sentence gives as its answer.

What is returned is the text of a number with its sign, currency, percent, degree and unit, or of a formula; deciding
its value is the matchers' work. Alternatives ("5 or 6"), ranges and bounds ("more than 5") give nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmpr_pipeline.checking.normalise import undressed, without_text_commands

MOST_CHARS = 2_000
"""A longer sentence gives no number."""

_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred""".split()  # noqa: SIM905
_WORD = rf"(?:{'|'.join(_WORDS[20:-1])})-(?:{'|'.join(_WORDS[1:10])})|(?:{'|'.join(_WORDS)})"
_DIGITS = r"(?:\d{1,3}(?:,\d{3}){1,6}|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40}"
_POWER = r"(?:[eE][+-]?\d{1,4}|\s?(?:×|x|\*|\\times|\\cdot)\s?10\s?\^\s?\{?\s?[+-]?\d{1,4}\s?\}?)"
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.^\\])(?P<sign>[-+±]\s?|(?:negative|minus)\s)?(?P<money>(?:US|HK|C|A)?[$€£¥₹]|\\\$)?(?P<sign2>-)?"
    rf"(?:(?P<surd>(?:\d{{1,15}}(?:\.\d{{1,15}})?\s?\*?\s?)?(?:π|\\pi(?![a-z])|√\s?\(?\{{?\d{{1,15}}\}}?\)?"
    rf"|\\sqrt\s?\{{[^{{}}]{{1,40}}\}})"
    rf"(?:\s?/\s?\d{{1,15}})?)|(?P<latex>\\[dt]?frac\s?\{{[^{{}}]{{1,40}}\}}\s?\{{[^{{}}]{{1,40}}\}})"
    rf"|(?P<mixed>\d{{1,6}}\s?\+?\s?\d{{1,6}}/\d{{1,6}})|(?P<fraction>\d{{1,15}}\s?/\s?\d{{1,15}})"
    rf"|(?P<digits>{_DIGITS})(?P<power>{_POWER})?)"
    rf"(?!\d)(?P<suffix>\s?(?:\\?%|°[CF]?|\^?\\?\^?\{{?\\circ\}}?))?(?P<degree>\s(?:percent|degrees)\b)?"
    rf"|\b(?P<word>{_WORD})\b",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r"(?:\s|-)?(?:(?:square|cubic|sq\.?|cu\.?)\s)?(?:[kmcdµμn]?m|[kmµμ]?g|[mcd]?[lL]|[kmµ]?s|ms|min(?:utes?)?"
    r"|h(?:ours?|rs?)?|sec(?:onds?)?|days?|weeks?|months?|"
    r"years?|inch(?:es)?|in|ft|feet|foot|yards?|yd|miles?|mi|mph|km/h|m/s|pounds?|lbs?|ounces?|oz|tons?|gallons?"
    r"|quarts?|pints?|cups?|"
    r"cent(?:s|imet(?:er|re)s?)|dollars?|euros?|met(?:er|re)s?|kilomet(?:er|re)s?|millimet(?:er|re)s?|(?:kilo"
    r"|milli)?grams?|(?:milli)?lit(?:er|re)s?|"
    r"[kMmG]?(?:Hz|W|V|A|J|N|Pa|Ω)|[kM]?Wh|mol|[kK]|°C|°F|million|billion|trillion|thousand|units?)"
    r"(?:\^\{?[23]\}?|[²³23])?(?:/[a-zA-Z]{1,4}(?:\^\{?[23]\}?|[²³])?)?(?![A-Za-z0-9_])"
)
_MATH = re.compile(
    r"\$\$(?P<a>.{1,800}?)\$\$|\$(?P<b>[^$\n]{1,400})\$|\\\((?P<c>.{1,800}?)\\\)|\\\[(?P<d>.{1,800}?)\\\]", re.DOTALL
)
_BOUND = re.compile(
    r"(?:(?:more|less|fewer|greater|larger|smaller|higher|lower|other|rather) than(?: or equal to)?|at least"
    r"|at most|over"
    r"|under|below|above|up to|between|from|not|n't|only if|exceeds?|<|>|≤|≥) $",
    re.IGNORECASE,
)
_RANGE_AFTER = re.compile(r"^\s?(?:(?:or|to|or perhaps|or maybe|~)\s|-\s?)(?=[$€£-]?\d)", re.IGNORECASE)
_SAME_AFTER = re.compile(r"^[\s,(]{0,3}or\s", re.IGNORECASE)
_COPULA = re.compile(
    r"(?:'s\b|\b(?:is|are|was|were|be|been|equals?|equal to|total(?:s|ed)?|gives?|gets?|get|becomes?|has|have|had"
    r"|needs?|spends?|costs?|makes?|made|takes?|contains?|remain(?:s|ing)?|left|by|approximately|about|about|around"
    r"|roughly|exactly)|[=≈:]|是|为|等于|有|共)\s{0,2}"
    r"(?:(?:approximately|about|around|roughly|exactly|only|just|therefore|thus|equal to|a total of|now|also|still"
    r"|indeed|simply|likely|the number|to|by|at)\s){0,3}(?:\$|\\\(|\\\[|\*\*)?\s{0,2}$",
    re.IGNORECASE,
)


def quantities(text: str) -> list[re.Match[str]]:
    """Numbers of a text in order, number words among them ("one" only where it counts something)."""
    return [m for m in NUMBER.finditer(text) if not _pronoun(m, text) and not _PART.match(text, m.end())]


_PART = re.compile(
    r"[.:]\d|\s?(?:x|[*^×÷+=<>≤≥])(?![a-z])|[A-Za-z](?=[²³^]|\b)(?<![a-zA-Z]{2})(?<![mgsLlKkVWANJ])", re.IGNORECASE
)
"""What makes a number a part of something else: `5.0.1`, `5:00`, `5x`, `5 + 2`."""


def _pronoun(match: re.Match[str], text: str) -> bool:
    if (match["word"] or "").lower() != "one":
        return False
    after = text[match.end() : match.end() + 12].lstrip()
    return after.startswith(
        ("of ", "that", "who", "can", "is", "could", "would", "might", "with", "person", "on the", "another")
    )


def with_unit(match: re.Match[str], text: str) -> str:
    """The text of a number with the unit that follows it, if one does."""
    number = re.sub(r"^(?:negative|minus)\s", "-", match.group().strip(), flags=re.IGNORECASE)
    unit = _UNIT.match(text, match.end())
    if unit and not match["money"]:
        return f"{number} {unit.group().strip(' -')}"
    behind = _MONEY_BEHIND.match(text, match.end())
    return f"{behind.group().strip()}{number}" if behind and not match["money"] else number


_MONEY_BEHIND = re.compile(r"\s?[€£¥₹]")


def number_alone(text: str) -> str | None:
    """A text that is one number and its unit or currency, with a blank between them; None for anything else."""
    match = NUMBER.match(text)
    if match is None or match["word"]:
        return None
    unit = _UNIT.match(text, match.end()) or _MONEY_BEHIND.match(text, match.end())
    return with_unit(match, text) if unit and unit.end() == len(text) else None


def first_number(clause: str) -> str | None:
    """The number that an announced clause gives: after its last `=`, else its first; None for ranges and bounds."""
    text = clause.rsplit("=", 1)[-1] if re.search(r"=\s?\\?[-$\d.]", clause) else clause
    text = text.rsplit("≈", 1)[-1]
    bracketed = re.search(r"\[\s?([-+]?[\d./]{1,20})\s?\]", text)
    if bracketed:
        return bracketed[1]
    found = quantities(text)
    if not found or is_vague(found[0], text):
        return None
    return with_unit(found[0], text)


def is_vague(match: re.Match[str], text: str) -> bool:
    """True for a number that is one of alternatives, an end of a range, or a bound."""
    before, after = text[max(match.start() - 40, 0) : match.start()], text[match.end() : match.end() + 40]
    if _BOUND.search(before.rstrip() + " ") or (match["word"] and _FRACTION_WORD.match(after)):
        return True
    unit = _UNIT.match(text, match.end())
    after = text[unit.end() : unit.end() + 40] if unit else after
    if not _RANGE_AFTER.match(after):
        return False
    following = quantities(after)
    return not (following and _restates(match.group(), following[0].group()))


def offers_two(text: str) -> bool:
    """True for two different numbers with `or` between them."""
    for joined in re.finditer(r"\s(?:or|and/or)\s|或者?", text[:MOST_CHARS]):
        before, after = quantities(text[: joined.start()]), quantities(text[joined.end() : joined.end() + 60])
        if before and after and not _restates(before[-1].group(), after[0].group()):
            return True
    return False


def _restates(a: str, b: str) -> bool:
    """`0.2 or 20%`, `0.247, or 1/4`: the same number said twice, to two digits."""
    left, right = _rough(a), _rough(b)
    return left is not None and right is not None and abs(left - right) <= 0.02 * max(abs(left), abs(right))


def _rough(text: str) -> float | None:
    match = re.fullmatch(
        r"[$€£]?(-?\d{1,15}(?:\.\d{1,15})?)(?:\s?/\s?(\d{1,15}))?\s?(\\?%)?", text.replace(",", "").strip()
    )
    if match is None or (match[2] and int(match[2]) == 0):
        return None
    return float(match[1]) / float(match[2] or 1) / (100 if match[3] else 1)


_CLAUSE_END = re.compile(
    r",? (?:which|because|since|while|whereas|but|where|when|although|compared)\b"
    r"|, (?:with|so|and|as|from|making|indicating|consisting|including)\b|:\s|;\s| \(",
    re.IGNORECASE,
)
_NONE_OF = re.compile(
    r"\b(?:there (?:is|are|were|was)|has|have|with|shows?) (?:no|not any|zero)\b(?! \d)", re.IGNORECASE
)


def number_of_sentence(sentence: str, question: str = "") -> str | None:
    """The number that a whole sentence gives as its answer; None if it names several and none stands out."""
    if len(sentence) > MOST_CHARS:
        return None
    if re.search(r"=\s?\\?[-$\d.]", sentence):
        return first_number(sentence)
    end = _CLAUSE_END.search(sentence, 8)
    for clause in (sentence[: end.start()], sentence) if end else (sentence,):
        found = _number_of_clause(clause, question)
        if found is not None:
            return found
    return None


def _number_of_clause(clause: str, question: str) -> str | None:
    if _NONE_OF.search(clause) and re.search(r"\bhow many\b", question, re.IGNORECASE):
        return "0"
    found = [m for m in quantities(clause) if not _DENIED.search(clause[max(m.start() - 12, 0) : m.start()])]
    asked = {_plain(m.group()) for m in quantities(question)} if question else set()
    fresh = [m for m in found if _plain(m.group()) not in asked]
    told = [m for m in (fresh or found) if _COPULA.search(clause[max(m.start() - 60, 0) : m.start()])]
    for candidates in (fresh, told, found):
        if len({_plain(m.group()) for m in candidates}) == 1:
            chosen = candidates[0]
            return None if is_vague(chosen, clause) or _is_listed(chosen, found, clause) else with_unit(chosen, clause)
    return None


_DENIED = re.compile(
    r"\b(?:(?:not|isn't|aren't|never|than)\s(?:the\s)?|(?:step|figure|fig\.?|table|image|picture|problem|question"
    r"|example|equation|eq\.?|version|"
    r"chapter|page|part|case|section|row|column|grade|day|week|level|no\.|#)\s?)$",
    re.IGNORECASE,
)
_NEXT_ITEM = re.compile(r"^\s?(?:[A-Za-z-]{1,20}\s?){1,3}(?:,|\sand|\s?&)\s?(?:and\s)?[$€£]?\d")
_FRACTION_WORD = re.compile(
    r"^[\s-](?:and (?:a|one) half|half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|hundred"
    r"|thousand|million|billion|dozen|score)\b",
    re.IGNORECASE,
)


def _is_listed(chosen: re.Match[str], found: Sequence[re.Match[str]], text: str) -> bool:
    """True for a number that stands in a list of numbers: `2 and 1`, `2, 3 and 4`."""
    if _NEXT_ITEM.match(text[chosen.end() : chosen.end() + 80]):
        return True
    joined = r"\s?(?:,|,?\s?and\s|&|or\s)\s?(?:and\s)?[$€£]?"
    return any(
        re.fullmatch(joined, text[min(chosen.end(), m.end()) : max(chosen.start(), m.start())])
        for m in found
        if m is not chosen
    )


_BLANK = re.compile(r"\(_{1,3}\)|_{2,}|\(\s{1,4}\)")


def filled_blank(text: str, question: str) -> str | None:
    """The number that a text puts where the question has a blank: `There are (_) dots in each group.`"""
    blank = _BLANK.search(question)
    if blank is None:
        return None
    after = re.findall(r"\w+", question[blank.end() : blank.end() + 60])[:3]
    if len(after) < 2:
        return None
    found = [m for m in quantities(text) if re.findall(r"\w+", text[m.end() : m.end() + 60])[: len(after)] == after]
    values = {_plain(m.group()) for m in found}
    return with_unit(found[-1], text) if len(values) == 1 else None


def _plain(text: str) -> str:
    text = re.sub(r"[\s,$€£%\\]", "", text.lower())
    return str(_WORDS.index(text)) if text in _WORDS else text


# ---- formulas


_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}(?![A-Za-z]*\()|[\u4e00-\u9fff]")
_NOT_PROSE = frozenset(
    [
        "and",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "exp",
        "min",
        "max",
        "lim",
        "arcsin",
        "arccos",
        "arctan",
        "degrees",
        "units",
        "gcd",
        "lcm",
        "mod",
        "det",
    ]
)


def is_formula(text: str) -> bool:
    """True for text without words of prose: digits, letters, commands and signs only."""
    bare = re.sub(r"\\[A-Za-z]+", " ", without_text_commands(text))
    return not any(m.group().lower() not in _NOT_PROSE for m in _PROSE.finditer(bare)) and any(
        c.isalnum() for c in bare
    )


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
        return _joined_from(segments, text)
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


def _joined_from(segments: Sequence[re.Match[str]], text: str) -> str:
    """The first segment and those joined to it by a comma or `and`, as one text."""
    end = segments[0].end()
    for segment in segments[1:]:
        if not re.fullmatch(r"[\s,;]{0,3}(?:and|or)?[\s,;]{0,3}", text[end : segment.start()]):
            break
        end = segment.end()
    return text[segments[0].start() : end]


def formula_of_sentence(sentence: str, question: str = "") -> str | None:
    """The formula or number that a concluding sentence gives."""
    text = sentence.strip().rstrip(".。")
    if is_formula(text):
        return first_formula(text)
    segments = math_segments(text)
    if segments and segments[-1].end() >= len(text) - 25:
        inner = undressed(segments[-1].group())
        return inner
    parts = re.split(r"\s(?:is|are|be|equals|becomes)\s|是|为|等于", text)
    if len(parts) > 1 and is_formula(parts[-1]):
        return first_formula(parts[-1])
    return number_of_sentence(text, question)
