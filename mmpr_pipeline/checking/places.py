"""Where an answer may stand when nothing announces it: leading and last words, concluding and restating sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mmpr_pipeline.checking import formula, quantity, sentence_number
from mmpr_pipeline.checking.abstain import abstains
from mmpr_pipeline.checking.choice import by_index, mentions, read_choice
from mmpr_pipeline.checking.normalise import fold, undressed
from mmpr_pipeline.checking.reading import Asked, Reading, choice_by_truth, hedges, negated, of_choice, same
from mmpr_pipeline.checking.sentences import sentences
from mmpr_pipeline.checking.text import tokens
from mmpr_pipeline.checking.words import singular
from mmpr_pipeline.checking.yes_no import read_yes_no

Place = Callable[[list[str], str, Asked], list[Reading]]
_CUE = re.compile(
    r"^\W{0,3}(?:therefore|round(?:ed|ing)|thus|hence|so|consequently|in (?:conclusion|summary|total)|finally"
    r"|overall|as a result"
    r"|accordingly|因此|所以|综上|故|于是|总之)(?![A-Za-z])",
    re.IGNORECASE,
)


def places(asked: Asked) -> list[tuple[str, Place]]:
    """Where else to look, by kind, in order, with the name of the rule."""
    if asked.kind == "choice":
        return [
            ("leading_letter", _leading_choice),
            ("said_correct", _said_correct),
            ("last_letter", _last_choice),
            ("leading_yes_no", _leading_truth_choice),
            ("mentioned", _mentioned_choice),
        ]
    if asked.kind == "yes_no":
        return [("leading", _leading_truth), ("concluded", _concluded_truth)]
    if asked.kind in ("number", "math", "list") or asked.numeric:
        return [
            ("blank_filled", _blank_filled),
            ("concluded", _concluded_number),
            ("restated", _restated_number),
            ("concluded_earlier", _concluded_earlier),
            ("last_sentence", _last_number),
            ("bold", _bold_number),
        ]
    return [("concluded", _phrase_sentences)]


def _leading_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = read_choice(said[0], asked.choices) if said else None
    if found is None or found.by != "letter" or re.match(r"\s?[a-z]", found.rest) or _lists_choices(said):
        return []
    return [of_choice(found, asked)]


def _lists_choices(said: list[str]) -> bool:
    """True where several lines begin with different labels: the choices over again, none of them chosen."""
    return len({m.group(1) for s in said if (m := _LABELLED.match(s))}) > 1


_LABELLED = re.compile(r"(?:[-*] )?(?:Option )?[(\[]?([A-J])[)\].:]")


_SAID_CORRECT = re.compile(
    r"(?:\b(?:option|choice) |选项)?[(\[]?(?<![A-Za-z])([A-J])(?![A-Za-z0-9])[)\]]?(?:选?项)?"
    r"(?: (?:is|would be|must be)(?: (?:the|indeed|therefore|thus|most|only|a)){0,2} (?:(?:correct|right|best"
    r"|appropriate|accurate) "
    r"(?:answer|option|choice|one|response)|correct\b|the answer\b)|(?:是|才是)?(?:唯一)?(?:正确|最符合|符合题意"
    r"|最佳|最合适|对)的?)"
)


def _said_correct(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """`B is the correct answer`, `选项B正确`, said of one letter only and denied nowhere in its sentence."""
    found = [m.group(1) for s in said for m in _SAID_CORRECT.finditer(s) if not negated(s)]
    return [of_choice(c, asked) for letter in found if (c := read_choice(letter, asked.choices)) is not None]


def _last_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    if not said:
        return []
    last = re.sub(r"^(?:therefore|so|thus|hence|option|答案|选项)[,:]? ?", "", said[-1], flags=re.IGNORECASE)
    found = read_choice(last, asked.choices)
    if found is not None and found.by == "letter" and len(found.rest.split()) <= 8 and not _lists_choices(said):
        return [of_choice(found, asked)]
    marked = re.findall(r"[(\[]([A-Z])[)\]]", said[-1])
    if len(set(marked)) == 1 and not negated(said[-1]):
        inside = read_choice(f"({marked[0]})", asked.choices)
        return [of_choice(inside, asked)] if inside else []
    return []


def _leading_truth_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = choice_by_truth(said[0], asked) if said else None
    return [found] if found else []


def _mentioned_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The one choice whose words a concluding sentence holds, or the whole response does."""
    if not asked.choices:
        return []
    restating = _restating(said, asked.question)
    if _lists_choices(said) and _LABELLED.match(said[-1]):
        return []
    for part in [*said[-1:], *restating[-1:], " ".join(said)]:
        named = mentions(part, asked.choices)
        if len(named) == 1 and not negated(part) and not hedges(part) and not abstains(part):
            return [of_choice(by_index(named[0], "mention"), asked)]
    return []


def _leading_truth(said: list[str], text: str, asked: Asked) -> list[Reading]:
    truth = read_yes_no(said[0]) if said else None
    return [] if truth is None else [Reading("Yes" if truth else "No", truth=truth)]


def _concluded_truth(said: list[str], text: str, asked: Asked) -> list[Reading]:
    for sentence in reversed(said[-3:]):
        truth = read_yes_no(_CUE.sub("", sentence).lstrip(" ,"))
        if truth is not None:
            return [Reading("Yes" if truth else "No", truth=truth)]
    return []


def _concluded_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The last sentence, where it begins with "so", "therefore" and the like."""
    found = _sentence(said[-1], asked) if said and _CUE.match(said[-1]) else None
    return [found] if found else []


def _concluded_earlier(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """A concluding sentence before the last ones, together with the last one, if that gives a number too."""
    cues = [s for s in said[-6:-1] if _CUE.match(s)]
    found = [_sentence(s, asked) for s in (*cues[-1:], *said[-1:])] if cues else []
    return [r for r in found if r is not None]


def _restated_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The sentences that most say the words of what was asked again, and a number.

    Where they differ, those that conclude count: the last sentence, and those that begin with "so" and the like.
    """
    close = _restating(said, asked.question)
    found = [(s, r) for s in close if (r := _sentence(s, asked)) is not None]
    if any(not same(r, found[-1][1], asked) for _, r in found):
        found = [(s, r) for s, r in found if _CUE.match(s) or s == said[-1]] or found
    return [r for _, r in found]


def _restating(said: Sequence[str], question: str) -> list[str]:
    """Sentences that hold most of the content words of the question's last sentence, the closest ones."""
    parts = [s for s in sentences(question) if len(tokens(s)) > 2]
    asked = tokens(parts[-1]) if parts else ()
    words = {singular(w) for w in asked if len(w) > 2 and w not in _ASKING}
    if len(words) < 2:
        return []
    scored = [(len(words & {singular(w) for w in tokens(s)}) / len(words), s) for s in said]
    best = max((score for score, _ in scored), default=0.0)
    return [s for score, s in scored if score == best] if best >= 0.6 else []


_ASKING = frozenset(
    """what which when where who how many much does did has have had was were are the and for all its can will would
    this that these those there from with into answer image following figure shown""".split()  # noqa: SIM905
)


def _blank_filled(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = sentence_number.filled_blank(fold(" ".join(said)), asked.question)
    return [Reading(found)] if found else []


def _last_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = _sentence(said[-1], asked) if said else None
    return [found] if found else []


def _bold_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    bold = re.findall(r"\*\*([^*\n]{1,60})\*\*", text)
    found = [quantity.first_number(fold(b)) for b in bold if quantity.quantities(fold(b))]
    return [Reading(b) for b in found[-1:] if b is not None]


def _sentence(sentence: str, asked: Asked) -> Reading | None:
    if hedges(sentence) or abstains(sentence) or sentence.endswith(("?", ":")) or _ITEM.match(sentence):
        return None
    if asked.kind == "list":
        found = formula.bracketed(sentence) or sentence_number.numbers_listed(sentence, asked.question)
    elif asked.kind == "math":
        found = formula.formula_of_sentence(sentence, asked.question)
    else:
        found = sentence_number.number_of_sentence(sentence, asked.question)
    return Reading(found) if found else None


_ITEM = re.compile(r"\([a-z]{1,2}\) ")
"""An item of a list of choices that the model made up."""


def _phrase_sentences(said: list[str], text: str, asked: Asked) -> list[Reading]:
    if not said:
        return []
    concluded = [s for s in said[-3:] if _CUE.match(s)]
    sentence = concluded[-1] if concluded else (said[0] if len(said) == 1 or len(said[0].split()) <= 12 else said[-1])
    if hedges(sentence) or abstains(sentence):
        return []
    return [Reading(undressed(_CUE.sub("", sentence).lstrip(" ,")), prose=True)]
