"""Reading a choice as an answer: its letter, its text or its value, and whether another one is named beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmpr_pipeline.checking.case import Asked, Reading
from mmpr_pipeline.checking.finding.numbers import is_formula, quantities
from mmpr_pipeline.checking.finding.reply import first_sentence, split_sentences
from mmpr_pipeline.checking.finding.sentence_values import number_of_sentence
from mmpr_pipeline.checking.reading.choices import (
    Choice,
    by_index,
    choice_value,
    contradicts,
    mentions,
    read_by_text,
    read_choice,
)
from mmpr_pipeline.checking.reading.letters import read_yes_no
from mmpr_pipeline.checking.reading.normalise import undressed

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


# ---- a short response

_LEAD_IN = re.compile(
    r"^(?:it(?:'s| is| should be| must be| would be| has to be)|(?:that|this)(?:'s| is| would be| must be)|choose"
    r"|select|pick|"
    r"(?:solution|final|selected(?: option)?|chosen|choice|pick|result) ?:|so|thus|hence|therefore|i'd say)[ ,]{1,2}",
    re.IGNORECASE,
)


_SO = re.compile(
    r"[\d,.;] ?(?:so|thus|hence|therefore),? (?:it is |it's |the answer is )?([(\[]?[A-J][)\]]?)\W{0,3}$", re.IGNORECASE
)


def choice_of_short(line: str, asked: Asked) -> Reading | None:
    """The choice that a short response names, where it is no list of choices."""
    if lists_choices(split_sentences(line)):
        return None
    concluded = _SO.search(line)
    if concluded:
        return choice_named(concluded[1], asked)
    named = choice_named(_LEAD_IN.sub("", line), asked)
    if named is not None and named.choice is not None and named.choice.by == "mention":
        # The value of a choice may merely stand in a calculation: `20°` in `20° + 140° = 160°`.
        valued = choice_value(asked.choices[named.choice.index]) is not None
        if valued and value_given(line, asked) != named.choice.index:
            named = None
    return named or choice_by_truth(line, asked) or value_alone(line, asked)


LABELLED = re.compile(r"(?:[-*] )?(?:Option )?[(\[]?([A-J])[)\].:]")


def lists_choices(said: Sequence[str]) -> bool:
    """True where several lines begin with different labels: the choices over again, none of them chosen."""
    return len({m.group(1) for s in said if (m := LABELLED.match(s))}) > 1
