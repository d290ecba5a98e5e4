r"""Choices, by letter or by value (`\boxed{\frac{1}{4}}` where the choices are 1:2, 1:3, 1:4, ...), and yes or no."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmpr_pipeline.checking.case import Asked, Match, Reading
from mmpr_pipeline.checking.finding.numbers import is_formula
from mmpr_pipeline.checking.matching.math import match_math
from mmpr_pipeline.checking.reading.choices import Choice, canonical, contradicts, gold_letters
from mmpr_pipeline.checking.reading.letters import gold_yes_no
from mmpr_pipeline.checking.reading.normalise import undressed

MOST_CHARS = 200
_AFTER_LABEL = re.compile(r"^[\s.):,~]*(?:[-\u2013\u2014]\s)?")


def is_value(text: str, choices: Sequence[str]) -> bool:
    """True if a text is a formula with a value, and so is every choice (not so where they are pictures A to E)."""
    return bool(choices) and all(
        len(bare) <= MOST_CHARS and is_formula(bare) and re.search(r"\d|π|\\pi", bare) is not None
        for bare in map(undressed, (text, *choices))
    )


def value_contradicts(named: Choice, choices: Sequence[str]) -> bool:
    r"""True if a letter is followed by a formula that is surely not its choice's value: `(B) 10\pi` of choice 2\pi."""
    rest = undressed(_AFTER_LABEL.sub("", named.rest)) if named.by == "letter" and len(named.letters) == 1 else ""
    if not rest or not is_value(rest, choices[named.index : named.index + 1]):
        return False
    own = choices[named.index]
    same = canonical(rest).replace(" ", "") == canonical(own).replace(" ", "")
    return not same and match_math(rest, own).outcome == "incorrect"


def match_value(text: str, gold: str, choices: Sequence[str], question: str = "") -> Match:
    """The gold's choice if the value equals that one only; wrong if it surely equals another one, or none."""
    wanted = gold_letters(gold, choices)
    if not wanted or not is_value(text, choices):
        return Match("unparseable", "choice_none_named")
    found = [match_math(text, choice, question=question).outcome for choice in choices]
    equal = [chr(65 + i) for i, outcome in enumerate(found) if outcome == "correct"]
    if not equal:
        return (
            Match("incorrect", "choice_value_of_none")
            if set(found) == {"incorrect"}
            else Match("unparseable", "choice_value_unclear")
        )
    if not set(equal).isdisjoint(wanted):
        return (
            Match("correct", "choice_value")
            if set(equal) <= set(wanted)
            else Match("unparseable", "choice_value_of_several")
        )
    return Match("incorrect", "choice_value", f"{'/'.join(equal)} != {'/'.join(wanted)}")


def match_choice(named: Choice | None, gold: str, choices: Sequence[str]) -> Match:
    """Compare letters named with the gold's; a hedge is never a match."""
    wanted = gold_letters(gold, choices)
    if not wanted:
        return Match("unparseable", "choice_gold_unknown", gold[:80])
    if named is None:
        return Match("unparseable", "choice_none_named")
    if named.hedged:
        return Match("unparseable", "choice_hedged", named.letters)
    if contradicts(named, choices):
        return Match("unparseable", "choice_letter_against_text", named.letters)
    rule = f"choice_{named.by}"
    if named.letters in wanted:
        return Match("correct", rule)
    return Match("incorrect", rule, f"{named.letters} != {'/'.join(wanted)}")


# ---- yes or no


def match_yes_no(said: bool | None, gold: str) -> Match:
    """Compare what was said with the gold."""
    wanted = gold_yes_no(gold)
    if wanted is None:
        return Match("unparseable", "yes_no_gold_unknown", gold[:80])
    if said is None:
        return Match("unparseable", "yes_no_unclear")
    return Match("correct", "yes_no") if said == wanted else Match("incorrect", "yes_no")


def match_chosen(found: Reading, gold: str, asked: Asked) -> Match:
    """Compare the choice that was read, or else the value, with the gold."""
    if found.choice is None:
        return match_value(found.text, gold, asked.choices, asked.question)
    if value_contradicts(found.choice, asked.choices):
        return Match("unparseable", "choice_letter_against_value", found.choice.letters)
    return match_choice(found.choice, gold, asked.choices)
