"""A response that is short enough to be the answer itself: a line of at most a dozen words."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.case import Asked
from mmpr_pipeline.checking.finding.abstain import abstains
from mmpr_pipeline.checking.finding.answer import (
    Reading,
    choice_by_truth,
    choice_named,
    hedges,
    leading_truth,
    negated,
    value_alone,
    value_given,
)
from mmpr_pipeline.checking.finding.choice_places import lists_choices
from mmpr_pipeline.checking.finding.prose import formula, sentence_number
from mmpr_pipeline.checking.finding.prose import numbers as quantity
from mmpr_pipeline.checking.finding.prose.sentences import split_sentences
from mmpr_pipeline.checking.reading.choices import choice_value
from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.quantity import read_quantity


def of_short(line: str, asked: Asked) -> Reading | None:
    """A short response read as the answer itself; None where it gives none of its kind."""
    if abstains(line) or line.rstrip().endswith("?"):
        return None
    if hedges(line):
        return Reading(line, hedged=True)
    if asked.kind == "choice":
        return _choice(line, asked)
    if asked.kind == "yes_no":
        return leading_truth(line)
    if asked.kind == "list":
        if formula.is_formula(line):
            return Reading(formula.first_formula(line) or line)
        listed = formula.bracketed(line) or sentence_number.numbers_listed(line, asked.question)
        return Reading(listed or line)
    if asked.kind in ("number", "math"):
        if asked.kind == "number" and quantity.offers_two(line):
            return Reading(line, hedged=True)
        if not line.isascii() and (worded := read_quantity(line)) is not None and not worded.digits:
            return Reading(line)  # 三分之二
        if asked.kind == "number" and (result := quantity.result_of(line)):
            return Reading(result)
        prose = asked.kind == "number" and re.match(r"[A-Za-z]{2,} ", line)
        if formula.is_formula(line) and not prose:
            return Reading(formula.first_formula(line) or line)
        of_sentence = formula.formula_of_sentence if asked.kind == "math" else sentence_number.number_of_sentence
        found = of_sentence(line, asked.question)
        return Reading(found) if found else None
    if asked.numeric and read_quantity(line) is None:
        return Reading(sentence_number.number_of_sentence(line, asked.question) or line)
    last = told_at_the_end(line)
    return Reading(undressed(line), prose=bool(last) or len(line.split()) > 6, also=last)


_LEAD_IN = re.compile(
    r"^(?:it(?:'s| is| should be| must be| would be| has to be)|(?:that|this)(?:'s| is| would be| must be)|choose"
    r"|select|pick|"
    r"(?:solution|final|selected(?: option)?|chosen|choice|pick|result) ?:|so|thus|hence|therefore|i'd say)[ ,]{1,2}",
    re.IGNORECASE,
)


_SO = re.compile(
    r"[\d,.;] ?(?:so|thus|hence|therefore),? (?:it is |it's |the answer is )?([(\[]?[A-J][)\]]?)\W{0,3}$", re.IGNORECASE
)


def _choice(line: str, asked: Asked) -> Reading | None:
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


_TOLD = re.compile(
    r"(?:the|it|this|that|these|they|its|he|she)\b(?P<before>[^,;:?!]{0,120}) "
    r"(?:is|are|was|were|says|reads|shows)(?: called| named)? (?P<told>[^,;:?!]{1,80}(?:, \d{4})?)"
    r"|[A-Za-z ]{2,40}: (?P<labelled>[^,;:?!]{1,80})",
    re.IGNORECASE,
)
_ANOTHER_VERB = re.compile(r"\b(?:is|are|was|were|has|have|and|or|but)\b", re.IGNORECASE)


def told_at_the_end(sentence: str) -> tuple[str, ...]:
    """What a sentence that denies nothing says last: `Paris` of "The capital is Paris." and of "Capital: Paris"."""
    match = _TOLD.fullmatch(sentence.strip().rstrip(".")) if not negated(sentence) else None
    if match is None or _ANOTHER_VERB.search(match["before"] or ""):
        return ()
    return (undressed(match["told"] or match["labelled"]),)
