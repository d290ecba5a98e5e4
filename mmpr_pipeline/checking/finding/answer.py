"""Reading an answer of a known kind from the text where it is stated."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple

from mmpr_pipeline.checking.case import Asked
from mmpr_pipeline.checking.finding.announcements import Span
from mmpr_pipeline.checking.finding.numbers import first_number, offers_two, quantities
from mmpr_pipeline.checking.finding.reply import abstains, first_sentence, is_bare_abstention
from mmpr_pipeline.checking.finding.sentence_values import (
    first_formula,
    formula_of_sentence,
    is_formula,
    is_formula_like_prefix,
    math_segments,
    number_of_sentence,
)
from mmpr_pipeline.checking.reading.choices import Choice, by_index, contradicts, mentions, read_by_text, read_choice
from mmpr_pipeline.checking.reading.letters import read_yes_no
from mmpr_pipeline.checking.reading.normalise import tokens, undressed
from mmpr_pipeline.checking.reading.quantity import read_quantity


class Reading(NamedTuple):
    """One answer read: its text, its value (letters, truth value), and whether it is offered as one of several.

    `prose` marks a sentence whose answer could not be cut out: a match in it counts, a mismatch is in doubt.
    """

    text: str
    choice: Choice | None = None
    truth: bool | None = None
    hedged: bool = False
    prose: bool = False
    weight: int = 0
    also: tuple[str, ...] = ()


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
    if not text or is_bare_abstention(text):
        return None
    if asked.kind == "choice":
        found = choice_named(text, asked, closed=closed)
    elif asked.kind == "yes_no":
        found = leading_truth(text)
    elif asked.kind in ("number", "math", "list"):
        if closed:
            found = Reading(text.strip(), weight=2, hedged=asked.kind == "number" and offers_two(text))
        else:
            clause = announced_clause(text)
            if abstains(clause) or _echoes(clause, asked.question):
                found = None
            elif (whole := _nothing_else(clause, asked)) is not None:
                found = Reading(whole, weight=1, hedged=offers_two(whole))
            else:
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
                found = (
                    Reading(number, weight=1, hedged=" be" in clause and _OR_ANOTHER.search(clause) is not None)
                    if number
                    else None
                )
    else:
        found = _phrase(text, asked, closed=closed)
    if closed and asked.kind != "choice" and abstains(undressed(text)):
        return None
    if found is None and closed and asked.kind != "choice":
        return Reading(undressed(text), weight=1)
    return found


def _nothing_else(clause: str, asked: Asked) -> str | None:
    """A clause that is one number, in digits of any locale or in words, or a formula, and nothing else; else None.

    To cut the number out of it would leave `1` of `1 234,50`, `3` of `3½` and `10` of `2^{10}`.
    """
    bare = undressed(clause) if asked.kind == "number" and len(clause) <= 60 else ""
    if _LISTED.fullmatch(bare):
        return bare
    read = read_quantity(bare, asked.language) if bare else None
    if read is not None:
        return None if read.unit else bare
    return bare if bare and _OPERATED.fullmatch(bare) and is_formula(bare) else None


_LISTED = re.compile(r"\[.*,.*\]")
_OPERATED = re.compile(
    r"(?!.*(?:[=<>≤≥≈]|\b(?:and|or)\b))"
    r"(?:.*\d[}\])]?\s?(?:[-+*/^×·⋅²³⁰¹⁴-⁹½-¾⅐-⅞\\]|,\s?[-+]?[\d\\]).*|\\[a-z].*)",
    re.IGNORECASE,
)
"""Digits of which more is said, in what is neither an equation nor a choice between two."""


_SEVERAL = re.compile(r"[,;\[]|\s(?:and|&)\s|[和与]")
_REASON = re.compile(r",? (?:because|since|as|which|where)\b", re.IGNORECASE)
INSTEAD = re.compile(
    r",? (?:not|rather than|instead of|and not|but not|unlike|as opposed to|whereas|while)\b", re.IGNORECASE
)


def choice_named(text: str, asked: Asked, *, closed: bool = False) -> Reading | None:
    """The choice that a text begins with, or the only one whose words its first sentence has."""
    labels = _ITEM.findall(text[:600])
    if len(labels) > 2 and labels[:3] == sorted(set(labels[:3])):
        return None  # lines that begin with A, B and C: the choices repeated, none of them chosen
    text = _NOT_BUT.sub("", text)
    clause = text if closed else first_sentence(text)
    if not closed and text[len(clause) :].startswith("?"):
        return None
    found = read_choice(text if closed else clause, asked.choices)
    if found is None and asked.choices:
        stated = INSTEAD.split(clause, maxsplit=1)[0]
        named = mentions(stated, asked.choices)
        if len(named) == 1 and not negated(stated):
            found = by_index(named[0], "mention")
    if found is None:
        return None
    hedged = found.hedged or contradicts(found, asked.choices) or names_another(found)
    weight = {"letter": 3, "text": 2, "value": 2}.get(found.by, 1)
    return Reading(found.letters, choice=found, hedged=hedged, weight=weight)


_NOT_BUT = re.compile(r"^not [(\[]?[A-J][)\]]?,? (?:but|it is|it's|rather)(?: it is)? (?=[(\[]?[A-J]\b)")
"""`not A, but B`: the answer is what stands behind it."""
_ITEM = re.compile(r"^\s{0,4}[(\[]?([A-H])[)\].:、．]", re.MULTILINE)


_BUT_ANOTHER = re.compile(
    r"(?:但|不过|然而|\b(?:but|however|though|although|whereas|yet)\b)[^\n]{0,80}?(?<![A-Za-z])([A-J])(?![A-Za-z0-9'])",
)


_CORRECTED = re.compile(
    r"\b(?i:wait|actually|sorry|correction|scratch that|on second thoughts?|let me (?:re|correct)|i mean|no,)"
    r"[^\n]{0,120}?(?<![A-Za-z])([B-HJ](?![A-Za-z0-9'])|[AI](?=\s?(?:[).,:;]|$)))"
)
"""`Wait, no, B`: who says so takes back the letter before it."""


def names_another(found: Choice) -> bool:
    """True where a letter is followed by "but" or "wait" and another letter: `C. -2, but the closest is D`."""
    if found.by != "letter":
        return False
    rest = found.rest[:300]
    other, corrected = _BUT_ANOTHER.search(rest), _CORRECTED.search(rest)
    return bool(
        (other and other[1] not in found.letters and other[1] not in "AI")
        or (corrected and corrected[1] not in found.letters)
    )


def value_given(part: str, asked: Asked) -> int | None:
    """The choice whose value a text gives as its answer, or ends on: others may stand in it as well."""
    stated = number_of_sentence(part, asked.question)
    last = [m.group().strip() for m in quantities(part)][-1:]
    for number in (stated, *last):
        choice = read_by_text(number, asked.choices) if number else None
        if choice is not None:
            return choice.index
    return None


def value_of_span(span: Span, asked: Asked) -> Reading | None:
    """For choices: a formula where a letter was expected, to be compared with the choices' values."""
    if asked.kind != "choice":
        return None
    return value_alone(span.text if span.closed else announced_clause(span.text), asked)


_LABEL = re.compile(r"[(\[][A-J][)\]]")


def value_alone(text: str, asked: Asked) -> Reading | None:
    """A formula with digits, where there are choices that it may be compared with."""
    bare = undressed(text)
    if _LABEL.search(bare):
        return None
    return Reading(bare) if asked.choices and is_formula(bare) and any(c.isdigit() for c in bare) else None


def negated(text: str) -> bool:
    """True if a text denies something: what it mentions is then no answer."""
    return _NEGATIVE.search(text) is not None


_NEGATIVE = re.compile(
    r"\b(?:not|cannot|never|neither|nor|except|incorrect|wrong|false)\b|n't\b|不|错|非|除", re.IGNORECASE
)


_OR_ANOTHER = re.compile(r"\b(?:though|but|or)\b[^.]{0,30}\b(?:could|might|may) (?:also )?be\b", re.IGNORECASE)


def _echoes(clause: str, question: str) -> bool:
    """True for four words or more that stand in the question as they are: what was asked, not an answer."""
    words = tokens(clause)
    n = len(words)
    if n <= 3 or not question:
        return False
    asked = tokens(question[:4_000])
    return any(asked[i : i + n] == words for i in range(len(asked) - n + 1))


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


def of_choice(found: Choice, asked: Asked) -> Reading:
    """A choice as a reading; a letter followed by another choice's text is a hedge."""
    return Reading(found.letters, choice=found, hedged=found.hedged or contradicts(found, asked.choices))


def choice_by_truth(line: str, asked: Asked) -> Reading | None:
    """The choice `yes` or `no` that a text beginning with yes or no means."""
    truth = read_yes_no(line)
    if truth is None or not asked.choices:
        return None
    named = read_by_text("yes" if truth else "no", asked.choices) or read_by_text(
        "true" if truth else "false", asked.choices
    )
    return of_choice(named, asked) if named else None


def bounded(text: str, most: int = 300) -> str:
    """Text for a verdict's `extracted`: one line, at most `most` characters."""
    return " ".join(text.split())[:most]
