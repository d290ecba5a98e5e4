"""Reading an answer of a known kind from the text where it is stated."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from mmpr_pipeline.checking import quantity
from mmpr_pipeline.checking.abstain import abstains, is_bare_abstention
from mmpr_pipeline.checking.choice import Choice, contradicts, mentions, read_by_text, read_choice, read_letters
from mmpr_pipeline.checking.normalise import blanks, fold, undressed
from mmpr_pipeline.checking.spans import Span, first_sentence
from mmpr_pipeline.checking.text import tokens
from mmpr_pipeline.checking.yes_no import read_yes_no
from mmpr_pipeline.records import AnswerKind


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: all of a question that matters for finding its answer, the gold not among it."""

    kind: AnswerKind
    choices: tuple[str, ...] = ()
    question: str = ""
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
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
    if asked.kind in ("number", "math", "list"):
        text = undressed(found.text).replace(" ", "").replace("{", "").replace("}", "").replace("\\", "")
        return re.sub(r"(?<=\d),(?=\d{3})|^[a-zA-Z]=|[$]|\.0+$", "", text)
    return tokens(found.text)


def same(a: Reading, b: Reading, asked: Asked) -> bool:
    """True if two readings are the same answer, or one is part of the other's longer writing ("5" and "5 cm")."""
    left, right = key(a, asked), key(b, asked)
    if left == right:
        return True
    if isinstance(left, str) and isinstance(right, str) and asked.kind in ("number", "math", "list"):
        return _leading_number(left) is not None and _leading_number(left) == _leading_number(right)
    if isinstance(left, tuple) and isinstance(right, tuple) and left and right:
        short, long = sorted((left, right), key=len)
        return any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1))
    return False


def _leading_number(text: str) -> float | None:
    match = re.match(r"[-+]?\d{1,15}(?:\.\d{1,15})?(?=$|[a-zA-Z%°^])", text)
    return float(match.group()) if match else None


# ---- from a span


def of_span(span: Span, asked: Asked) -> Reading | None:
    """The answer at the beginning of an announced span; None if no answer of this kind stands there."""
    text = span.text.strip()
    if not text or is_bare_abstention(text):
        return None
    found = _of_text(text, asked, closed=span.closed)
    if found is None and span.closed and not abstains(text):
        return Reading(undressed(text), weight=1)
    return found


def _of_text(text: str, asked: Asked, *, closed: bool) -> Reading | None:
    if asked.kind == "choice":
        return _choice(text, asked, closed=closed)
    if asked.kind == "yes_no":
        truth = read_yes_no(text)
        return None if truth is None else Reading("Yes" if truth else "No", truth=truth)
    if asked.kind in ("number", "math", "list"):
        return _formula(text, asked, closed=closed)
    return _phrase(text, asked, closed=closed)


def _choice(text: str, asked: Asked, *, closed: bool) -> Reading | None:
    clause = text if closed else first_sentence(text)
    found = read_choice(text if closed else clause, asked.choices)
    if found is None and asked.choices:
        named = mentions(clause, asked.choices)
        if len(named) == 1 and not _negated(clause):
            found = Choice(chr(65 + named[0]), "mention")
    if found is None:
        return None
    hedged = found.hedged or contradicts(found, asked.choices)
    weight = {"letter": 3, "text": 2, "value": 2}.get(found.by, 1)
    return Reading(_choice_text(found, asked), choice=found, hedged=hedged, weight=weight)


def _choice_text(found: Choice, asked: Asked) -> str:
    return found.letters


def _negated(text: str) -> bool:
    return (
        re.search(r"\b(?:not|n't|cannot|never|neither|nor|except|incorrect|wrong|false)\b|n't\b|不|错|非|除", text)
        is not None
    )


def _formula(text: str, asked: Asked, *, closed: bool) -> Reading | None:
    if closed:
        return Reading(text.strip(), weight=2)
    clause = _clause(text)
    if abstains(clause):
        return None
    found = quantity.first_formula(clause) if asked.kind != "number" else None
    if found is None or not any(c.isalnum() for c in found):
        found = _number(clause)
    if found is None and asked.kind != "number":
        found = quantity.formula_of_sentence(clause, asked.question)
    return Reading(found, weight=1) if found else None


def _number(clause: str) -> str | None:
    segments = quantity.math_segments(clause)
    if segments and quantity.is_formula_like_prefix(clause[: segments[0].start()]):
        inner = undressed(segments[0].group())
        tail = clause[segments[0].end() : segments[0].end() + 30]
        return inner + tail if re.match(r"\s?(?:\\?%|°)", tail) else inner
    return quantity.first_number(clause)


def _clause(text: str) -> str:
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
        number = quantity.first_number(sentence)
        if number is not None:
            return Reading(number)
    return Reading(undressed(sentence), also=(undressed(line),)) if sentence else None


# ---- from a response that is short enough to be the answer


def of_short(line: str, asked: Asked) -> Reading | None:
    """A short response read as the answer itself."""
    if is_bare_abstention(line) or abstains(line):
        return None
    if hedges(line):
        return Reading(line, hedged=True)
    if asked.kind == "choice":
        return _choice(line, asked, closed=False) or _choice_by_truth(line, asked)
    if asked.kind == "yes_no":
        truth = read_yes_no(line)
        return None if truth is None else Reading("Yes" if truth else "No", truth=truth)
    if asked.kind in ("number", "math", "list"):
        if quantity.is_formula(line) or asked.kind == "list":
            return Reading(line)
        found = (
            quantity.formula_of_sentence(line, asked.question)
            if asked.kind == "math"
            else quantity.number_of_sentence(line, asked.question)
        )
        return Reading(found) if found else None
    if asked.numeric:
        number = quantity.number_of_sentence(line, asked.question)
        return Reading(number or line)
    return Reading(undressed(line), prose=len(line.split()) > 6)


_HEDGES = re.compile(
    r"\b(?:maybe|perhaps|guess(?:ing)?|possibly|might|could be|not sure|unsure|or so|either)\b|可能是|也许|大概|或许",
    re.IGNORECASE,
)


def hedges(text: str) -> bool:
    """True for guesses: "maybe", "perhaps", "I guess"."""
    return _HEDGES.search(text) is not None


# ---- from sentences


Place = Callable[[list[str], str, Asked], list[Reading]]
_CUE = re.compile(r"^(?:\W{0,3})(?:therefore|thus|hence|so|consequently|in (?:conclusion|summary|total)|finally|overall|as a result|accordingly|因此|所以|综上|故|于是|总之)\b", re.IGNORECASE)  # fmt: skip


def places(asked: Asked) -> list[tuple[str, Place]]:
    """Where else to look, by kind, in order, with the name of the rule."""
    if asked.kind == "choice":
        return [
            ("leading_letter", _leading_choice),
            ("last_letter", _last_choice),
            ("leading_yes_no", _leading_truth_choice),
            ("mentioned", _mentioned_choice),
        ]
    if asked.kind == "yes_no":
        return [("leading", _leading_truth), ("concluded", _concluded_truth)]
    if asked.kind in ("number", "math", "list") or asked.numeric:
        return [
            ("concluded", _concluded_number),
            ("restated", _restated_number),
            ("last_sentence", _last_number),
            ("bold", _bold_number),
        ]
    return [("concluded", _phrase_sentences)]


def _leading_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = read_letters(fold(said[0]), len(asked.choices)) if said else None
    if found is None or re.match(r"\s?[a-z]", found.rest):
        return []
    return [_as_reading(found, asked)]


def _last_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    if not said:
        return []
    last = re.sub(r"^(?:therefore|so|thus|hence|option|答案|选项)[,:]? ?", "", said[-1], flags=re.IGNORECASE)
    found = read_letters(fold(last), len(asked.choices))
    if found is not None and len(found.rest.split()) <= 8:
        return [_as_reading(found, asked)]
    marked = re.findall(r"[(\[]([A-Z])[)\]]", said[-1])
    if len(set(marked)) == 1 and not _negated(said[-1]):
        inside = read_letters(f"({marked[0]})", len(asked.choices))
        return [_as_reading(inside, asked)] if inside else []
    return []


def _as_reading(found: Choice, asked: Asked) -> Reading:
    return Reading(found.letters, choice=found, hedged=found.hedged or contradicts(found, asked.choices))


def _choice_by_truth(line: str, asked: Asked) -> Reading | None:
    truth = read_yes_no(line)
    if truth is None or not asked.choices:
        return None
    named = read_by_text("yes" if truth else "no", asked.choices) or read_by_text(
        "true" if truth else "false", asked.choices
    )
    return _as_reading(named, asked) if named else None


def _leading_truth_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = _choice_by_truth(said[0], asked) if said else None
    return [found] if found else []


def _mentioned_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The one choice whose words a concluding sentence holds, or the whole response does."""
    if not asked.choices:
        return []
    for part in ([said[-1]] if said else []) + [" ".join(said)]:
        named = mentions(part, asked.choices)
        if len(named) == 1 and not _negated(part) and not hedges(part) and not abstains(part):
            return [_as_reading(Choice(chr(65 + named[0]), "mention"), asked)]
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
    for sentence in reversed(said[-6:]):
        if _CUE.match(sentence):
            found = _sentence(sentence, asked)
            return [found] if found else []
    return []


def _restated_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """Sentences that say the question's own words again, and a number."""
    words = {w for w in tokens(asked.question) if len(w) > 3}
    if len(words) < 3:
        return []
    close = [s for s in said if len(words & set(tokens(s))) >= 0.6 * len(words)]
    found = [_sentence(s, asked) for s in close]
    return [r for r in found if r is not None]


def _last_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    found = _sentence(said[-1], asked) if said else None
    return [found] if found else []


def _bold_number(said: list[str], text: str, asked: Asked) -> list[Reading]:
    bold = re.findall(r"\*\*([^*\n]{1,60})\*\*", text)
    found = [quantity.first_number(fold(b)) for b in bold if quantity.quantities(fold(b))]
    return [Reading(b) for b in found[-1:] if b is not None]


def _sentence(sentence: str, asked: Asked) -> Reading | None:
    if hedges(sentence) or abstains(sentence) or sentence.endswith("?"):
        return None
    read = quantity.formula_of_sentence if asked.kind in ("math", "list") else quantity.number_of_sentence
    found = read(sentence, asked.question)
    return Reading(found) if found else None


def _phrase_sentences(said: list[str], text: str, asked: Asked) -> list[Reading]:
    if not said:
        return []
    concluded = [s for s in said[-3:] if _CUE.match(s)]
    sentence = concluded[-1] if concluded else (said[0] if len(said) == 1 or len(said[0].split()) <= 12 else said[-1])
    if hedges(sentence) or abstains(sentence):
        return []
    return [Reading(undressed(_CUE.sub("", sentence).lstrip(" ,")), prose=True)]


def bounded(text: str, most: int = 300) -> str:
    """Text for a verdict's `extracted`: one line, at most `most` characters."""
    return blanks(text)[:most]


def sequence_of(values: Sequence[str] | None) -> tuple[str, ...]:
    """A tuple of strings from whatever a case holds."""
    return tuple(str(v) for v in values or ())
