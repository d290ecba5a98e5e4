"""Which number or formula a clause or sentence gives as its answer.

A number that the question did not hold, or the one that the sentence's verb gives; nothing where several stand out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from mmpr_pipeline.checking.finding.numbers import (
    COPULA,
    MOST_CHARS,
    first_formula,
    first_number,
    is_formula,
    is_vague,
    math_segments,
    number_alone,
    plain_number,
    quantities,
    same_number_twice,
    with_unit,
)
from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.quantity import read_quantity

_CLAUSE_END = re.compile(
    r"(?:,? (?:which|because|since)|, (?:where|when|although|compared))\b"
    r"|, (?:with|so|as|from|making|indicating|consisting|including)\b|:\s|;\s| \(",
    re.IGNORECASE,
)
_NONE_OF = re.compile(
    r"\b(?:there (?:is|are|were|was)|has|have|with|shows?) (?:no|not any|zero)\b(?! \d)", re.IGNORECASE
)


def number_of_sentence(sentence: str, question: str = "") -> str | None:
    """The number that a whole sentence gives as its answer; None if it names several and none stands out."""
    if len(sentence) > MOST_CHARS:
        return None
    # `thirty-four dollars and 72 cents` of a sentence: one amount, not two.
    match = _CENTS.search(sentence) if "cent" in sentence.lower() else None
    words = match.group().split(" ") if match else []
    amounts = (" ".join(words[start:]) for start in range(len(words)))
    money = next((amount for amount in amounts if read_quantity(amount) is not None), None)
    if money is not None:
        return money
    if re.search(r"=\s?\\?[-$\d.]", sentence):
        return first_number(sentence)
    result = (
        _RESULTING.search(sentence) if any(word in sentence for word in ("which ", "so ", "total of", "ing ")) else None
    )
    if result is not None:
        return number_alone(result[1]) or result[1]
    end = _CLAUSE_END.search(sentence, 8)
    if end is not None:
        found = _number_of_clause(sentence[: end.start()], question, alone=False)
        if found is not None:
            return found
    return _number_of_clause(sentence, question, alone=True)


_CENTS = re.compile(
    r"(?<![\w-])(?:[\w-]{1,20} ){0,7}[\w-]{1,20} dollars?,? (?:and )?(?:[\w-]{1,20} )?[\w-]{1,20} cents?\b",
    re.IGNORECASE,
)


def _number_of_clause(clause: str, question: str, *, alone: bool) -> str | None:
    """The new number of a clause, else the one its verb gives, else (`alone`) the only one."""
    if _NONE_OF.search(clause) and re.search(r"\bhow many\b", question, re.IGNORECASE):
        return "0"
    found = [m for m in quantities(clause) if not _DENIED.search(clause[max(m.start() - 12, 0) : m.start()])]
    asked = numbers_of(question)
    fresh = [m for m in found if plain_number(m.group()) not in asked]
    found = fresh or [m for m in found if not _is_echo(m, clause, question)]
    stated = [m for m in found if COPULA.search(clause[max(m.start() - 60, 0) : m.start()])]
    for candidates in (fresh, stated, found if alone else []):
        if len({plain_number(m.group()) for m in candidates}) == 1:
            chosen = candidates[0]
            if is_vague(chosen, clause) or _NEXT_ITEM.match(clause[chosen.end() : chosen.end() + 120]):
                return None
            # A number that stands in a list of numbers (`2 and 1`, `2, 3 and 4`) is no answer.
            listed = any(
                _stand_in_a_row(chosen, m, clause) if chosen.start() < m.start() else _stand_in_a_row(m, chosen, clause)
                for m in found
                if m is not chosen
            )
            return None if listed else with_unit(chosen, clause)
    return None


@lru_cache(maxsize=512)
def numbers_of(question: str) -> frozenset[str]:
    """What the numbers of a question are told apart by."""
    return frozenset(plain_number(m.group()) for m in quantities(question))


def numbers_listed(sentence: str, question: str = "") -> str | None:
    """The numbers of a sentence that are new and stand in a list: `2010, 2011` of "between 2010 and 2011"."""
    asked = numbers_of(question)
    found = [m for m in quantities(sentence[:MOST_CHARS]) if plain_number(m.group()) not in asked]
    joined = all(_JOINED.fullmatch(sentence[a.end() : b.start()]) for a, b in pairwise(found))
    return ", ".join(m.group().strip() for m in found) if len(found) > 1 and joined else None


_RESULTING = re.compile(
    r"(?:which (?:is|equals|gives|makes|comes to)|so (?:there are|that is|it is|it's)?"
    r"|(?:for|making|giving) a total of"
    r"|, (?:giving|making|yielding|leaving|totall?ing|resulting in)(?: you| us| him| her| them)?) ?"
    r"(?:about |approximately )?([-+]?[$€£]?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,15})?%?(?: [a-z°]{1,12})?"
    r"|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) [a-z]{1,12})"
    r"(?<! in)(?: in total| in all| altogether)?\.?$"
)
_JOINED = re.compile(r"\s?(?:,|,?\s?and\s|&|or\s|to\s)\s?(?:and\s)?[$€£]?")
_DENIED = re.compile(
    r"\b(?:(?:not|isn't|aren't|never|than)\s(?:the\s)?|(?:step|figure|fig\.?|table|image|picture|problem|question"
    r"|example|equation|eq\.?|version|"
    r"chapter|page|part|case|section|row|column|grade|day|week|level|no\.|#)\s?)$",
    re.IGNORECASE,
)
_NEXT_ITEM = re.compile(
    r"^\s?(?:[A-Za-z-]{1,20}\s?){1,3}(?:,|\s?&)\s?(?:and\s)?[$€£]?\d"
    r"|^\s?(?:[\w-]{1,20}\s){1,9}and\s(?:two|three|four|five|six|seven|eight|nine|ten|[$€£]?\d{1,9})\b(?!\s(?:of|times)\b)",
    re.IGNORECASE,
)
"""What counts something more behind a number: the answer is then both, and not the first one alone."""


def _stand_in_a_row(first: re.Match[str], second: re.Match[str], text: str) -> bool:
    """True for two numbers that nothing but a comma or `and` keeps apart; `0.2 or 20%` says one number twice."""
    between = text[first.end() : second.start()]
    twice = "," not in between and same_number_twice(first.group(), second.group())
    return _JOINED.fullmatch(between) is not None and not twice


_BEFORE, _AFTER = re.compile(r"(?:\w+\W+){2}$"), re.compile(r"\W+\w+")


def _is_echo(match: re.Match[str], clause: str, question: str) -> bool:
    """True for a number that stands in the question with the two words before it and the one after it."""
    before, after = _BEFORE.search(clause, 0, match.start()), _AFTER.match(clause, match.end())
    if before is None or after is None:
        return False
    return f"{before.group()}{match.group()}{after.group()}".lower() in question.lower()


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
    values = {plain_number(m.group()) for m in found}
    return with_unit(found[-1], text) if len(values) == 1 else None


# ---- formulas

_CLAUSE = re.compile(
    r"^(?:given by|equal to|therefore|thus)\s|,? (?:which|where|with|since|because|so that)\b.*$", re.DOTALL
)


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
    clause = _CLAUSE.sub("", parts[-1]).strip() if len(parts) > 1 else ""
    if "=" in clause and is_formula(clause):
        return first_formula(clause)
    return number_of_sentence(text, question)
