"""An answer that nothing announces: a response that is short enough to be the answer itself, a line of at most a dozen
words, and else the places where it may stand: leading and last words, concluding and restating sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from mmpr_pipeline.checking.case import Asked, Reading
from mmpr_pipeline.checking.finding import choice_places
from mmpr_pipeline.checking.finding.answer import hedges, same_answer, stated_at_the_end
from mmpr_pipeline.checking.finding.concluding import CUE, restated_truth, restating
from mmpr_pipeline.checking.finding.numbers import (
    bracketed,
    first_number,
    plain_number,
    quantities,
)
from mmpr_pipeline.checking.finding.reply import abstains
from mmpr_pipeline.checking.finding.sentence_values import (
    filled_blank,
    formula_of_sentence,
    number_of_sentence,
    numbers_listed,
    numbers_of,
)
from mmpr_pipeline.checking.reading.letters import read_yes_no
from mmpr_pipeline.checking.reading.normalise import fold_width, undressed

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
    return [Reading(undressed(phrase), prose=True, also=stated_at_the_end(phrase))]
