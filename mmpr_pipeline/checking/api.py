"""The checker: a response or a prediction and its gold give a Verdict.

Pure, thread-safe, without Ray. Precision before recall: what is in doubt is `unparseable`, and is used in no pair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, get_args

from mmpr_pipeline.checking.case import Asked, Gold, Match, Reading
from mmpr_pipeline.checking.finding.announcements import SPAN_CHARS
from mmpr_pipeline.checking.finding.extract import IN_WORDS, Extraction, extract
from mmpr_pipeline.checking.finding.numbers import is_formula
from mmpr_pipeline.checking.finding.reply import abstains
from mmpr_pipeline.checking.matching.choice import match_chosen, match_yes_no
from mmpr_pipeline.checking.matching.documents_and_charts import match_chart, match_document
from mmpr_pipeline.checking.matching.math import match_formula
from mmpr_pipeline.checking.matching.text import match_text
from mmpr_pipeline.checking.reading.choices import gold_letters
from mmpr_pipeline.checking.reading.letters import gold_yes_no
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.core.verdict import AnswerKind, Verdict

if TYPE_CHECKING:
    from mmpr_pipeline.core.records import Question

CHECKER = "mmpr-checker@5"
_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)
_ZERO = re.compile(r"0(?:\.0+)?|zero|none", re.IGNORECASE)
LONGEST_FORMULA = 50_000
"""Characters of a prediction that may still be one formula."""
MOST_EXTRACTED = 300
"""Characters of a verdict's `extracted`, which is one line."""


class Trace(NamedTuple):
    """How a verdict came about: the kind, the places looked at, what was extracted, and what the matchers said."""

    kind: AnswerKind
    extraction: Extraction
    matches: tuple[Match, ...]
    verdict: Verdict


def check(
    response: str,
    gold: str | float,
    *,
    golds: Sequence[str] = (),
    kind: str | None = None,
    choices: Sequence[str] = (),
    question: str = "",
    unit: str | None = None,
    precision: float | Sequence[float] | None = None,
    language: str = "en",
) -> Verdict:
    """Whether a response gives the gold answer: `check("So it is 0.5.", "1/2").outcome` is `correct`.

    Its answer is found first, then compared with the golds. `language` decides whether 3,5 is three and a half;
    announcements of every language are always looked for.

    Raises TypeError where the response or a gold is no text (a number is read as its digits), and ValueError for a kind
    that is not known; without a kind it is inferred from the gold, the choices and the question.
    """
    known = Gold.of(
        gold, golds, kind=kind, choices=choices, question=question, unit=unit, precision=precision, language=language
    )
    return trace_answer(response, known).verdict


check_response = check
"""`check` by the name that stands beside `check_prediction`."""


def check_prediction(
    prediction: str,
    *,
    gold: str | float,
    golds: Sequence[str] = (),
    kind: str | None = None,
    choices: Sequence[str] = (),
    question: str = "",
    unit: str | None = None,
    precision: float | Sequence[float] | None = None,
    language: str = "en",
) -> Verdict:
    """The verdict on an answer that was already extracted; where it is a sentence, it is read as a response."""
    known = Gold.of(
        gold, golds, kind=kind, choices=choices, question=question, unit=unit, precision=precision, language=language
    )
    return trace_answer(prediction, known, extracted=True).verdict


def check_question(question: Question, response: str) -> Verdict:
    """The verdict on a response to a question with an answer."""
    if question.answer is None or question.kind == "none":
        return unusable("no_gold")
    third = checker_for(question.kind)
    if third is not None:
        checker, name = third
        try:
            return replace(checker(question, response), checker=name)  # TypeError, where it returns no Verdict
        except Exception as fault:  # a fault of theirs costs one verdict
            return Verdict(outcome="unparseable", rule=f"checker_failed:{type(fault).__name__}", checker=name)
    known = Gold.of(
        question.answer,
        question.answers,
        kind=question.kind,
        choices=question.choices,
        question=question.text,
        unit=question.unit,
        precision=question.precision,
        language=question.language,
    )
    return trace_answer(response, known).verdict


def find_answer(question: Question, response: str, kind: AnswerKind) -> str | None:
    """The answer that a response gives to a question without a gold; None where none, or no single one, is found."""
    asked = Asked(kind, tuple(question.choices), question.text, language=question.language)
    try:
        found = extract(response, asked)
    except Exception:  # as in `trace_answer`: a fault of ours costs one answer
        return None
    if found.status != "found" or found.reading is None or found.reading.hedged:
        return None
    return " ".join(found.reading.text.split())[:MOST_EXTRACTED]


def answers_equal(
    a: str,
    b: str,
    *,
    kind: str | None = None,
    choices: Sequence[str] = (),
    question: str = "",
    unit: str | None = None,
    precision: float | Sequence[float] | None = None,
    language: str = "en",
) -> bool:
    """True unless two extracted answers are surely different; in doubt counts as equal, so that no pair is made."""
    if a.strip() == b.strip():
        return True
    known = Gold.of(b, kind=kind, choices=choices, question=question, unit=unit, precision=precision, language=language)
    other = Gold.of(a, kind=kind, choices=choices, question=question, unit=unit, precision=precision, language=language)
    traces = (trace_answer(text, gold, extracted=True) for text, gold in ((a, known), (b, other)))
    return any(trace.verdict.outcome != "incorrect" for trace in traces)


def unusable(rule: str) -> Verdict:
    """The verdict on something that cannot be judged at all."""
    return Verdict(outcome="unparseable", extracted=None, rule=rule, checker=CHECKER)


# ---- one trace


def trace_answer(text: str, known: Gold, *, extracted: bool = False) -> Trace:
    """The verdict on a response, or on an answer that was already `extracted`, with everything that led to it.

    An answer that trips a fault of ours costs that verdict, which is named after the fault, and not a shard.
    """
    if not isinstance(text, str):
        raise TypeError(f"A response is text, not {type(text).__name__}: {text!r:.80}")
    try:
        if not extracted:
            return _concluded(known, extract(text, known.asked))
        answer, kind = text.strip(), known.asked.kind
        if not answer:
            return _concluded(known, Extraction("none", "empty"))
        # A short prediction or a formula is compared as it stands; a sentence must be read first.
        direct: Trace | None = None
        if kind not in ("choice", "yes_no") and "\\boxed" not in answer and "<think" not in answer:
            formula = kind in ("number", "math", "list") and len(answer) <= LONGEST_FORMULA
            if len(answer) <= 300 or (formula and is_formula(answer)):
                direct = _concluded(known, Extraction("found", "prediction", Reading(answer)))
        if direct is not None and (direct.verdict.outcome == "correct" or direct.verdict.rule == "unknown_unit"):
            return direct
        read = _concluded(known, extract(text, known.asked))
        # Several equations say several values: what was read does not contradict the gold, the whole is compared.
        several = answer.count("=") > 1 and read.verdict.outcome == "incorrect"
        unread = read.extraction.status == "none" or read.extraction.rule == IN_WORDS
        if direct is not None and (unread or several):
            return direct._replace(extraction=direct.extraction._replace(tried=read.extraction.tried))
        return read
    except Exception as fault:
        failed = Match("unparseable", "checker_failed", type(fault).__name__)
        return _concluded(known, Extraction("none", "checker_failed"), (failed,))


def _concluded(known: Gold, found: Extraction, matches: tuple[Match, ...] = ()) -> Trace:
    """How the last of `matches` became the verdict; without any, what was found is compared with the golds first."""
    asked = known.asked
    if not matches and found.status == "found" and found.reading is not None:
        compare = _remembered if len(found.reading.text) <= SPAN_CHARS else match_reading
        matches = compare(found.reading, known)
    elif not matches and found.status == "abstained":
        letters = "".join("".join(gold_letters(gold, asked.choices)) for gold in known.golds[:1])
        own = [choice for i, choice in enumerate(asked.choices) if chr(65 + i) in letters]
        if any(abstains(gold) for gold in known.golds):
            matches = (Match("correct", "abstained_as_gold"),)
        elif any(abstains(choice) for choice in own):  # it may mean the choice that says so
            matches = (Match("unparseable", "abstained_like_choice"),)
        elif asked.kind == "number" and any(_ZERO.fullmatch(gold.strip()) for gold in known.golds):
            matches = (Match("unparseable", "abstained_like_zero"),)  # `None` of them, perhaps
        else:
            matches = (Match("incorrect", "abstained"),)  # an honest "I can't tell" is no match
    elif not matches:
        matches = (Match("unparseable", found.rule),)
    final = matches[-1]
    extracted = " ".join(found.reading.text.split())[:MOST_EXTRACTED] if found.reading else None
    verdict = Verdict(outcome=final.outcome, extracted=extracted, rule=final.rule, checker=CHECKER)
    return Trace(asked.kind, found, matches, verdict)


def match_reading(found: Reading, known: Gold) -> tuple[Match, ...]:
    """Verdicts of the matchers in the order tried; the last one decides."""
    if found.hedged:
        return (Match("unparseable", "hedged"),)
    kind, question = known.asked.kind, known.asked.question
    if kind == "yes_no" and gold_yes_no(known.golds[0]) is not None:
        return (match_yes_no(found.truth, known.golds[0]),)
    if kind in ("choice", "number", "math", "list"):
        tried: list[Match] = []
        for gold in known.golds:
            if kind == "choice":
                tried.append(match_chosen(found, gold, known.asked))
            elif known.precision is None and _WHOLE.fullmatch(found.text) and _WHOLE.fullmatch(gold):
                # Two plain whole numbers, most answers there are, without further ado.
                same = int(found.text) == int(gold)
                tried.append(Match("correct", "same_number") if same else Match("incorrect", "other_value"))
            else:
                tried.append(match_formula(found.text, gold, known))
            if tried[-1].outcome == "correct":
                return tuple(tried)
        tried.sort(key=lambda match: match.outcome == "unparseable")
        if found.prose and kind != "choice" and tried[-1].outcome == "incorrect":
            tried.append(Match("unparseable", "announcement_not_understood", tried[-1].rule))
        return tuple(tried)
    texts = (found.text, *found.also)
    if kind == "document":
        matches = [match_document(text, known.golds) for text in texts]
    elif kind == "chart":
        matches = [match_chart(text, known.golds, question) for text in texts]
    else:
        matches = [match_text(text, known.golds, question, known.asked.language) for text in texts]
    best = min(matches, key=lambda match: {"correct": 0, "unparseable": 1, "incorrect": 2}[match.outcome])
    if found.prose and best.outcome == "incorrect":
        best = Match("unparseable", "sentence_not_understood", best.rule)
    return (*[m for m in matches if m is not best], best)


_remembered = lru_cache(maxsize=1_024)(match_reading)
"""The rollouts of one question, which are checked one after the other, give few different answers."""


# ---- checkers of third parties
#
# A distribution registers a checker for a kind of answer through an entry point in the group `mmpr.checkers`, named
# after the kind; a program does so with `@checker("text", version=1)`. For that kind it replaces this package's rules,
# and its name and version enter the identity of every output that is built with it.


class Checker(Protocol):
    """Decides on one response; an exception costs that verdict, not the run."""

    def __call__(self, question: Question, response: str) -> Verdict: ...


CHECKERS: Registry[Checker] = Registry("mmpr.checkers", "checker", {})


@cache
def checker_for(kind: AnswerKind) -> tuple[Checker, str] | None:
    """The third party's checker for a kind, with its name and version; None where the rules of this package decide."""
    if kind not in CHECKERS.names():
        return None
    return CHECKERS.get(kind), f"{kind} of {CHECKERS.origins([kind])[kind]}"


def checker(kind: AnswerKind, *, version: int | str) -> Callable[[Checker], Checker]:
    """Register a function as the checker of a kind in this process. Raises ConfigError for a kind that is not known."""
    if kind not in get_args(AnswerKind):
        raise ConfigError(
            f"There is no kind of answer {kind!r}.", remedy=f"Name one of {', '.join(get_args(AnswerKind))}."
        )

    def add(function: Checker) -> Checker:
        name = getattr(function, "__qualname__", type(function).__name__)
        CHECKERS.add(kind, function, f"{name} {version}")
        checker_for.cache_clear()
        return function

    return add


def checker_identity() -> str:
    """Names and versions of this checker and of third parties' checkers; they enter the identity of a build."""
    others = [f"{kind}={origin}" for kind, origin in sorted(CHECKERS.origins(CHECKERS.names()).items())]
    return ", ".join([CHECKER, *others])
