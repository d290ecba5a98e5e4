"""An answer that nothing announces: a response that is short enough to be the answer itself, a line of at most a dozen
words, and else the places where it may stand: leading and last words, concluding and restating sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from mmpr_pipeline.checking.case import Asked
from mmpr_pipeline.checking.finding import choice_places
from mmpr_pipeline.checking.finding.answer import (
    Reading,
    choice_by_truth,
    choice_named,
    hedges,
    leading_truth,
    negated,
    same_answer,
    value_alone,
    value_given,
)
from mmpr_pipeline.checking.finding.choice_places import lists_choices
from mmpr_pipeline.checking.finding.concluding import CUE, restated_truth, restating
from mmpr_pipeline.checking.finding.numbers import first_number, offers_two, plain_number, quantities
from mmpr_pipeline.checking.finding.reply import abstains, split_sentences
from mmpr_pipeline.checking.finding.sentence_values import (
    bracketed,
    filled_blank,
    first_formula,
    formula_of_sentence,
    is_formula,
    number_of_sentence,
    numbers_listed,
    numbers_of,
)
from mmpr_pipeline.checking.reading.choices import choice_value
from mmpr_pipeline.checking.reading.letters import read_yes_no
from mmpr_pipeline.checking.reading.normalise import fold_width, undressed
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
    last = told_at_the_end(line)
    return Reading(undressed(line), prose=bool(last) or len(line.split()) > 6, also=last)


_RESULT = re.compile(
    r"(?=[^=]*\d[^=]*[-+*/×÷x−])[-+*/×÷x−()$€£.,%\d\s]{3,120}=\s{0,2}([-−]?[$€£]?-?[\d.,]{1,24}\d|[$€£]?\d)\s?\.?"
)
"""A line of arithmetic, and what it comes to: `$109.53` of `$61.09 + $48.44 = $109.53.`"""

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


_STATED = re.compile(
    r"(?:the|it|this|that|these|they|its|he|she)\b(?P<before>[^,;:?!]{0,120}) "
    r"(?:is|are|was|were|says|reads|shows)(?: called| named)? (?P<stated>[^,;:?!]{1,80}(?:, \d{4})?)"
    r"|[A-Za-z ]{2,40}: (?P<labelled>[^,;:?!]{1,80})",
    re.IGNORECASE,
)
_ANOTHER_VERB = re.compile(r"\b(?:is|are|was|were|has|have|and|or|but)\b", re.IGNORECASE)


def told_at_the_end(sentence: str) -> tuple[str, ...]:
    """What a sentence that denies nothing says last: `Paris` of "The capital is Paris." and of "Capital: Paris"."""
    match = _STATED.fullmatch(sentence.strip().rstrip(".")) if not negated(sentence) else None
    if match is None or _ANOTHER_VERB.search(match["before"] or ""):
        return ()
    return (undressed(match["stated"] or match["labelled"]),)


# ---- places

Place = Callable[[list[str], str, Asked], list[Reading]]


def places(asked: Asked) -> list[tuple[str, Place]]:
    """Where else to look, by kind, in order, with the name of the rule."""
    if asked.kind == "choice":
        return [
            ("leading_letter", choice_places.leading_choice),
            ("said_correct", choice_places.said_correct),
            ("judged", choice_places.judged_choice),
            ("last_letter", choice_places.last_choice),
            ("marked", choice_places.marked_choice),
            ("leading_yes_no", choice_places.leading_truth_choice),
            ("restated", choice_places.restated_choice),
            ("mentioned", choice_places.mentioned_choice),
            ("concluded_value", choice_places.concluded_value),
        ]
    if asked.kind == "yes_no":
        return [("leading", _leading_truth), ("concluded", _concluded_truth), ("restated", _restated_truth)]
    if asked.kind in ("number", "math", "list") or asked.numeric:
        return [
            ("last_sentence", _last_number),
            ("concluded_earlier", _concluded_earlier),
            ("bold", _bold_number),
            ("restated", _restated_number),
            ("blank_filled", _blank_filled),
        ]
    return [("concluded", _phrase_sentences)]


def _leading_truth(said: list[str], text: str, asked: Asked) -> list[Reading]:
    truth = read_yes_no(said[0]) if said else None
    return [] if truth is None else [Reading("Yes" if truth else "No", truth=truth)]


def _concluded_truth(said: list[str], text: str, asked: Asked) -> list[Reading]:
    for sentence in reversed(said[-3:]):
        truth = read_yes_no(CUE.sub("", sentence).lstrip(" ,"))
        if truth is not None:
            return [Reading("Yes" if truth else "No", truth=truth)]
    return []


def _restated_truth(said: list[str], text: str, asked: Asked) -> list[Reading]:
    truth = restated_truth(said, asked.question)
    return [] if truth is None else [Reading("Yes" if truth else "No", truth=truth)]


def _concluded_earlier(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """A concluding sentence before the last ones, together with the last one, if that gives a number too."""
    cues = [s for s in said[-6:-1] if CUE.match(s)]
    found = [_sentence(s, asked) for s in (*cues[-1:], *said[-1:])] if cues else []
    return [r for r in found if r is not None]


def _restated_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The sentences that most say the words of what was asked again, and a number.

    Where they differ, those that conclude count: the last sentence, and those that begin with "so" and the like.
    """
    close = restating(said, asked.question)
    found = [(s, r) for s in close if (r := _sentence(s, asked)) is not None]
    if any(not same_answer(r, found[-1][1], asked) for _, r in found):
        found = [(s, r) for s, r in found if CUE.match(s) or s == said[-1]] or found
    return [r for _, r in found]


def _blank_filled(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = filled_blank(fold_width(" ".join(said)), asked.question)
    return [Reading(found)] if found else []


def _last_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The last sentence: measured over labelled responses it is right more often than any other.

    A number in it counts less than an earlier sentence that concludes, or that gives a number which the question lacks.
    """
    last = _sentence(said[-1], asked) if said and not _BROKEN_OFF.search(said[-1]) else None
    if last is None:
        return []
    if asked.kind != "number" or CUE.match(said[-1]):
        return [last]
    concluded = [r for s in said[-4:-1] if CUE.match(s) and (r := _sentence(s, asked)) is not None]
    if any(not same_answer(r, Reading(last.text), asked) for r in concluded):
        return []
    known = numbers_of(asked.question)
    if plain_number(last.text) not in known:
        return [last]
    earlier = [r for s in said[-6:-1] if (r := _sentence(s, asked)) is not None]
    return [] if any(plain_number(r.text) not in known for r in earlier) else [last]


_BROKEN_OFF = re.compile(r"[-+*/=(,^_{\\]\s?$")
"""A sum that was cut off by the limit on tokens: its last number is no result."""


def _bold_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    bold = re.findall(r"\*\*([^*\n]{1,60})\*\*", text)
    found = [first_number(fold_width(b)) for b in bold if quantities(fold_width(b))]
    return [Reading(b) for b in found[-1:] if b is not None]


@lru_cache(maxsize=1_024)
def _sentence(sentence: str, asked: Asked) -> Reading | None:
    """Remembered: one place after the other looks at the same sentences."""
    if hedges(sentence) or abstains(sentence) or sentence.endswith(("?", ":")) or _ITEM.match(sentence):
        return None
    if _TASK.match(sentence) and "=" not in sentence:
        return None
    if asked.kind == "list":
        found = bracketed(sentence) or numbers_listed(sentence, asked.question)
    elif asked.kind == "math":
        found = formula_of_sentence(sentence, asked.question)
    else:
        found = number_of_sentence(sentence, asked.question)
    return Reading(found) if found else None


_ITEM = re.compile(r"\([a-z]{1,2}\) ")
"""An item of a list of choices that the model made up."""
_TASK = re.compile(
    r"(?:(?:first|next|then|now|step \d{1,2})[,:]? )?(?:find|calculate|compute|determine|solve|add|subtract"
    r"|multiply|divide|count|identify|look)\b",
    re.IGNORECASE,
)
"""What is to be done: `Find the cost of 4.6 kilograms.`"""


def _phrase_sentences(said: list[str], text: str, asked: Asked) -> list[Reading]:
    if not said:
        return []
    concluded = [s for s in said[-3:] if CUE.match(s)]
    sentence = concluded[-1] if concluded else (said[0] if len(said) == 1 or len(said[0].split()) <= 12 else said[-1])
    if hedges(sentence) or abstains(sentence):
        return []
    phrase = CUE.sub("", sentence).lstrip(" ,")
    return [Reading(undressed(phrase), prose=True, also=told_at_the_end(phrase))]
