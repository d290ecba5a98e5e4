"""Reading an answer of a known kind from the text where it is stated."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache

from mmpr_pipeline.checking.case import Asked, Reading
from mmpr_pipeline.checking.finding.announcements import Span
from mmpr_pipeline.checking.finding.choice_answer import choice_named, choice_of_short, negated, value_alone
from mmpr_pipeline.checking.finding.numbers import (
    bracketed,
    first_formula,
    first_number,
    is_formula,
    is_formula_like_prefix,
    math_segments,
    offers_two,
)
from mmpr_pipeline.checking.finding.reply import BARE_ABSTENTIONS, abstains, first_sentence
from mmpr_pipeline.checking.finding.sentence_values import formula_of_sentence, number_of_sentence, numbers_listed
from mmpr_pipeline.checking.reading.letters import read_yes_no
from mmpr_pipeline.checking.reading.normalise import tokens, undressed
from mmpr_pipeline.checking.reading.quantity import read_quantity


def key(found: Reading, asked: Asked) -> Hashable:
    """The value by which two readings are compared."""
    if found.choice is not None:
        return found.choice.letters
    if found.truth is not None:
        return found.truth
    if asked.kind in ("number", "math", "list", "choice"):
        text = undressed(found.text).replace(" ", "").replace("{", "").replace("}", "").replace("\\", "")
        return _WRITING.sub("", text)
    return tokens(found.text)


_WRITING = re.compile(r"(?<=\d),(?=\d{3})|^[a-zA-Z]=|[$]|\.0+$")


def same_answer(a: Reading, b: Reading, asked: Asked) -> bool:
    """True if two readings are the same answer, or one is part of the other's longer writing ("5" and "5 cm")."""
    left, right = key(a, asked), key(b, asked)
    if left == right:
        return True
    if isinstance(left, str) and isinstance(right, str) and asked.kind in ("number", "math", "list", "choice"):
        return _leading_number(left) is not None and _leading_number(left) == _leading_number(right)
    if isinstance(left, tuple) and isinstance(right, tuple) and left and right:
        short, long = sorted((left, right), key=len)
        return any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1))
    return False


def _leading_number(text: str) -> float | None:
    match = re.match(r"[-+]?\d{1,15}(?:\.\d{1,15})?(?=$|[a-zA-Z%°^])", text)
    return float(match.group()) if match else None


# ---- from a span


@lru_cache(maxsize=1_024)
def of_span(text: str, closed: bool, asked: Asked) -> Reading | None:
    """The answer at the beginning of a span's text, None if no answer of this kind stands there.

    Remembered: the rollouts of one question, which are read one after the other, announce few different answers.
    """
    if not text or undressed(text[:60]).casefold() in BARE_ABSTENTIONS:
        return None
    if asked.kind == "choice":
        found = choice_named(text, asked, closed=closed)
    elif asked.kind == "yes_no":
        found = leading_truth(text)
    elif asked.kind in ("number", "math", "list"):
        if closed:
            found = Reading(text.strip(), weight=2, hedged=asked.kind == "number" and offers_two(text))
        else:
            found = _announced_value(announced_clause(text), asked)
    else:
        found = _phrase(text, asked, closed=closed)
    if closed and asked.kind != "choice" and abstains(undressed(text)):
        return None
    if found is None and closed and asked.kind != "choice":
        return Reading(undressed(text), weight=1)
    return found


def _announced_value(clause: str, asked: Asked) -> Reading | None:
    """The number, formula or list that an announced clause gives; None where it says only what the question says."""
    if abstains(clause):
        return None
    words = tokens(clause)
    if (size := len(words)) > 3:  # as long as that, words that the question has in a row answer nothing
        question = tokens(asked.question[:4_000])
        if any(question[i : i + size] == words for i in range(len(question) - size + 1)):
            return None
    # A clause that is one number, in digits of any locale or in words, or a formula, and nothing else, is the answer as
    # it stands: to cut the number out of it would leave `1` of `1 234,50`, `3` of `3½` and `10` of `2^{10}`.
    bare = undressed(clause) if asked.kind == "number" and len(clause) <= 60 else ""
    read = read_quantity(bare, asked.language) if bare and not _LISTED.fullmatch(bare) else None
    alone = not read.unit if read is not None else _OPERATED.fullmatch(bare) is not None and is_formula(bare)
    if bare and (alone or _LISTED.fullmatch(bare)):
        return Reading(bare, weight=1, hedged=offers_two(bare))
    number = first_formula(clause) if asked.kind != "number" else None
    if number is None or not any(c.isalnum() for c in number):
        segments = math_segments(clause)
        if segments and is_formula_like_prefix(clause[: segments[0].start()]):
            inner = undressed(segments[0].group())
            tail = clause[segments[0].end() : segments[0].end() + 30]
            number = inner + tail if re.match(r"\s?(?:\\?%|°)", tail) else inner
        elif re.match(r"\W{0,4}(?:\w{1,15}\W{1,3}){0,2}[-+]?[$€£]?\.?\d", clause):
            number = first_number(clause)
        else:
            number = number_of_sentence(clause, asked.question)
    if number is None and asked.kind != "number":
        number = formula_of_sentence(clause, asked.question)
    if number is None and asked.kind == "list" and _SEVERAL.search(clause):
        number = undressed(_REASON.split(clause, maxsplit=1)[0])
    if not number:
        return None
    return Reading(number, weight=1, hedged=" be" in clause and _OR_ANOTHER.search(clause) is not None)


_LISTED = re.compile(r"\[.*,.*\]")
_OPERATED = re.compile(
    r"(?!.*(?:[=<>≤≥≈]|\b(?:and|or)\b))"
    r"(?:.*\d[}\])]?\s?(?:[-+*/^×·⋅²³⁰¹⁴-⁹½-¾⅐-⅞\\]|,\s?[-+]?[\d\\]).*|\\[a-z].*)",
    re.IGNORECASE,
)
"""Digits of which more is said, in what is neither an equation nor a choice between two."""


_SEVERAL = re.compile(r"[,;\[]|\s(?:and|&)\s|[和与]")
_REASON = re.compile(r",? (?:because|since|as|which|where)\b", re.IGNORECASE)


def value_of_span(span: Span, asked: Asked) -> Reading | None:
    """For choices: a formula where a letter was expected, to be compared with the choices' values."""
    if asked.kind != "choice":
        return None
    return value_alone(span.text if span.closed else announced_clause(span.text), asked)


_OR_ANOTHER = re.compile(r"\b(?:though|but|or)\b[^.]{0,30}\b(?:could|might|may) (?:also )?be\b", re.IGNORECASE)


def announced_clause(text: str) -> str:
    r"""The first sentence; a display `\[ ... \]` or `$$ ... $$` at the beginning counts as one."""
    for opening, closing in ((r"\[", r"\]"), ("$$", "$$"), (r"\(", r"\)"), (r"\begin", "\n\n")):
        if text.startswith(opening):
            end = text.find(closing, len(opening))
            if end > 0:
                return text[: end + len(closing)] + first_sentence(text[end + len(closing) :])
    return first_sentence(text)


def _phrase(text: str, asked: Asked, *, closed: bool) -> Reading | None:
    if closed:
        return Reading(undressed(text), weight=2)
    line = text.split("\n", 1)[0].strip()
    sentence = first_sentence(line).strip()
    if abstains(sentence):
        return None
    if asked.numeric:
        number = first_number(sentence)
        if number is not None:
            return Reading(number)
    return Reading(undressed(sentence), also=(undressed(line),)) if sentence else None


# ---- parts of readings


def leading_truth(text: str) -> Reading | None:
    """Yes or no as the first word of a text."""
    truth = read_yes_no(text)
    return None if truth is None else Reading("Yes" if truth else "No", truth=truth)


_HEDGES = re.compile(
    r"\b(?:maybe|perhaps|guessing|(?:I(?:'d| would| will)?|my|best|a|educated|just) guess|guess (?:is|it|that"
    r"|something|about)|possibly|might|could be|not sure|unsure|or so|either)\b|可能是|也许|大概|或许",
    re.IGNORECASE,
)


_HEDGING = "maybe perhaps guess possibl might could sure or either 可能 也许 大概 或许".split()  # noqa: SIM905


def hedges(text: str) -> bool:
    """True for guesses: "maybe", "perhaps", "I guess"."""
    low = text.lower()
    return any(key in low for key in _HEDGING) and _HEDGES.search(text) is not None


# ---- from a short response


def of_short(line: str, asked: Asked) -> Reading | None:
    """A short response read as the answer itself; None where it gives none of its kind."""
    if abstains(line) or line.rstrip().endswith("?"):
        return None
    if hedges(line):
        return Reading(line, hedged=True)
    if asked.kind == "choice":
        return choice_of_short(line, asked)
    if asked.kind == "yes_no":
        return leading_truth(line)
    if asked.kind == "list":
        if is_formula(line):
            return Reading(first_formula(line) or line)
        listed = bracketed(line) or numbers_listed(line, asked.question)
        return Reading(listed or line)
    if asked.kind in ("number", "math"):
        if asked.kind == "number" and offers_two(line):
            return Reading(line, hedged=True)
        if not line.isascii() and (worded := read_quantity(line)) is not None and not worded.digits:
            return Reading(line)  # 三分之二
        if asked.kind == "number" and (result := _RESULT.fullmatch(line)):
            return Reading(result[1])
        prose = asked.kind == "number" and re.match(r"[A-Za-z]{2,} ", line)
        if is_formula(line) and not prose:
            return Reading(first_formula(line) or line)
        of_sentence = formula_of_sentence if asked.kind == "math" else number_of_sentence
        found = of_sentence(line, asked.question)
        return Reading(found) if found else None
    if asked.numeric and read_quantity(line) is None:
        return Reading(number_of_sentence(line, asked.question) or line)
    last = stated_at_the_end(line)
    return Reading(undressed(line), prose=bool(last) or len(line.split()) > 6, also=last)


_RESULT = re.compile(
    r"(?=[^=]*\d[^=]*[-+*/×÷x−])[-+*/×÷x−()$€£.,%\d\s]{3,120}=\s{0,2}([-−]?[$€£]?-?[\d.,]{1,24}\d|[$€£]?\d)\s?\.?"
)
"""A line of arithmetic, and what it comes to: `$109.53` of `$61.09 + $48.44 = $109.53.`"""


_STATED = re.compile(
    r"(?:the|it|this|that|these|they|its|he|she)\b(?P<before>[^,;:?!]{0,120}) "
    r"(?:is|are|was|were|says|reads|shows)(?: called| named)? (?P<stated>[^,;:?!]{1,80}(?:, \d{4})?)"
    r"|[A-Za-z ]{2,40}: (?P<labelled>[^,;:?!]{1,80})",
    re.IGNORECASE,
)
_ANOTHER_VERB = re.compile(r"\b(?:is|are|was|were|has|have|and|or|but)\b", re.IGNORECASE)


def stated_at_the_end(sentence: str) -> tuple[str, ...]:
    """What a sentence that denies nothing says last: `Paris` of "The capital is Paris." and of "Capital: Paris"."""
    match = _STATED.fullmatch(sentence.strip().rstrip(".")) if not negated(sentence) else None
    if match is None or _ANOTHER_VERB.search(match["before"] or ""):
        return ()
    return (undressed(match["stated"] or match["labelled"]),)
