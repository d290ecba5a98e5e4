"""The answer of a whole response: read from the most explicit place that states one.

Places, in order: a formal final answer (box, tag, "Final answer:"), a stated one ("the answer is"), the response itself
where it is short, and a concluding sentence. Several different answers in the same place are ambiguous; none is none.
The gold is never looked at: what a response answers does not depend on what is right.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from mmpr_pipeline.checking.case import Asked, Reading
from mmpr_pipeline.checking.finding import answer as reading
from mmpr_pipeline.checking.finding.announcements import (
    A_LINE,
    FINAL,
    STATED,
    Span,
    announced,
    boxed_spans,
    tagged,
)
from mmpr_pipeline.checking.finding.answer import announced_clause, of_short
from mmpr_pipeline.checking.finding.places import places
from mmpr_pipeline.checking.finding.reply import (
    abstains,
    first_sentence,
    prepare_reply,
    split_sentences,
    without_choice_list,
)
from mmpr_pipeline.checking.reading.normalise import fold_width, undressed, without_emphasis

Status = Literal["found", "none", "ambiguous", "abstained"]


class Extraction(NamedTuple):
    """What was found: a reading and the rule that found it; `tried` lists the places looked at, for `--explain`."""

    status: Status
    rule: str
    reading: Reading | None = None
    tried: tuple[str, ...] = ()

    @property
    def text(self) -> str | None:
        """The answer as written, or None."""
        return self.reading.text if self.reading else None


def extract(response: str, asked: Asked) -> Extraction:
    """Find the answer to what was asked; pure, and linear in the length of the response."""
    reply = prepare_reply(response)
    found = _extract(reply.text, asked)
    if found.reading is not None and reply.further:
        later = _extract(reply.further, asked)
        # What a model wrote to questions of its own making must give no other answer.
        if later.reading is not None:
            agrees = reading.same_answer(later.reading, found.reading, asked)
        else:
            agrees = later.status == "none" and not _ANSWERED.search(reply.further)
        if not agrees:
            return Extraction("ambiguous", "ran_on", None, (*found.tried, *later.tried))
    return found


_ANSWERED = re.compile(r"\b(?:answer|solution)(?: is|\s?:)|\b(?:therefore|thus|hence)\b|答案|所以|因此", re.IGNORECASE)


def _extract(text: str, asked: Asked) -> Extraction:
    if not text:
        return Extraction("none", "empty")
    plain = without_emphasis(fold_width(text))
    if asked.kind == "choice":
        plain = without_choice_list(plain, asked.choices)
    tried: list[str] = []
    unread = False
    bare = len(text) < 4 and text.isascii()  # too short for an announcement
    for place in (_whole, _elsewhere) if bare else (_formal_and_stated, _whole, _elsewhere):
        found = place(plain, text, asked, tried)
        if found is not None and found.rule == _UNREAD:
            unread = True
            continue
        if found is not None and found.status == "abstained" and asked.kind == "choice":
            named = _elsewhere(plain, text, asked, tried)  # "That is no option. So all options are wrong."
            found = named if named and named.reading and named.reading.choice else found
        if found is not None:
            read = found.reading._replace(prose=True) if found.reading and unread else found.reading
            return Extraction(found.status, found.rule, read, tuple(tried))
    if asked.kind == "math" and (words := _in_words(plain, asked)) is not None:
        return Extraction("found", IN_WORDS, words, tuple(tried))
    status: Status = "abstained" if abstains(plain) else "none"
    return Extraction(status, "abstained" if status == "abstained" else "no_answer_found", None, tuple(tried))


def _in_words(plain: str, asked: Asked) -> Reading | None:
    """`even`, `no solution`: a few words that are announced, or are all that is said. A mismatch is in doubt."""
    spans = [span for span in _announced(plain, asked) if not span.closed]
    said = undressed(announced_clause(spans[-1].text) if spans else plain)
    return Reading(said, prose=True) if _FEW_WORDS.fullmatch(said) and not abstains(said) else None


IN_WORDS = "in_words"
_FEW_WORDS = re.compile(r"[A-Za-z]{2,20}(?: [A-Za-z]{2,20}){0,3}")


# ---- announced answers


def _formal_and_stated(plain: str, text: str, asked: Asked, tried: list[str]) -> Extraction | None:
    boxed = boxed_spans(plain)
    spans = sorted([*boxed, *tagged(plain), *_announced(plain, asked)], key=lambda span: span.start)
    if not spans:
        return None
    if boxed:
        inside = [(box.start, box.end) for box in boxed]
        spans = [s for s in spans if s in boxed or not any(a < s.start < b for a, b in inside)]
        # A box within the sentence that a span announces is what it announces.
        spans = [
            s
            for s in spans
            if s in boxed or not any(s.end <= a < s.end + len(announced_clause(s.text)) + 8 for a, _ in inside)
        ]
    readings = [(span, reading.of_span(span.text.strip(), span.closed, asked)) for span in spans]
    tried.extend(f"{span.rule}: {span.text[:80]!r} -> {r.text if r else None}" for span, r in readings)
    if asked.kind == "yes_no" and any(r for _, r in readings):
        leading = reading.leading_truth(first_sentence(plain[:300]))
        readings = [*([(Span(plain[:40], "leading", STATED, 0, 0), leading)] if leading else []), *readings]
        found = [(s, r) for s, r in readings if r is not None]
        return _agreed(found, asked)
    formal = [(s, r) for s, r in readings if s.tier == FINAL and r is not None]
    stated = [(s, r) for s, r in readings if s.tier == STATED and r is not None]
    if formal:
        later = [(s, r) for s, r in stated if s.start > formal[-1][0].end]
        return _agreed(formal + later, asked)
    if stated:
        return _agreed(stated, asked)
    unread = [s for s, r in readings if s.closed and r is None and not _is_abstention(s)]
    values = [(s, r) for s, _ in readings if (r := reading.value_of_span(s, asked)) is not None]
    if values and (not unread or unread[-1] in [s for s, _ in values]):
        return _agreed(values, asked)
    if unread:
        return Extraction("none", f"{unread[-1].rule}_not_understood")
    if any(_is_abstention(span) for span in spans):
        return Extraction("abstained", "abstained")
    return Extraction("none", _UNREAD) if spans and asked.kind in ("number", "math") else None


_UNREAD = "announcement_not_understood"
"""The answer is announced, and not in a form that is read: what stands elsewhere may be no more than a step to it."""


def _announced(plain: str, asked: Asked) -> list[Span]:
    """Announcements in words; those that a choice itself makes ("(c) the answer is option A in the image") are none."""
    found = announced(plain)
    if "print(" in plain:  # a program: `answer = 3 + 5` is an assignment
        found = [span for span in found if not plain[span.start : span.end].rstrip().endswith("=")]
    if asked.kind != "choice" or not found:
        return found
    found = [span for span in found if span.rule != A_LINE]
    low = plain.lower()
    for own in _announcing(asked.choices):
        at = low.find(own)
        while at >= 0:
            found = [span for span in found if not at <= span.start < at + len(own)]
            at = low.find(own, at + 1)
    return found


@lru_cache(maxsize=512)
def _announcing(choices: tuple[str, ...]) -> tuple[str, ...]:
    """Texts of choices that announce an answer, in small letters."""
    texts = (fold_width(choice).strip().rstrip(".").lower() for choice in choices)
    return tuple(text for text in texts if announced(text))


def _is_abstention(span: Span) -> bool:
    return abstains(span.text.split("\n", 1)[0])


def _agreed(found: Sequence[tuple[Span, Reading]], asked: Asked) -> Extraction:
    """The answer if all places give the same one; `ambiguous` otherwise."""
    last_span, last = found[-1]
    if last.hedged:
        return Extraction("ambiguous", f"{last_span.rule}_hedged")
    if any(not reading.same_answer(other, last, asked) for _, other in found[:-1]):
        return Extraction("ambiguous", "several_answers")
    best = max((r for _, r in found), key=lambda r: r.weight)
    return Extraction("found", last_span.rule, best)


# ---- the response itself, and sentences


def _whole(plain: str, text: str, asked: Asked, tried: list[str]) -> Extraction | None:
    """A response short enough to be the answer itself."""
    line = plain.strip()
    if len(line) > 120 or "\n" in line or len(line.split()) > 12:
        return None
    found = of_short(line, asked)
    tried.append(f"whole: {line[:80]} -> {found.text if found else None}")
    if found is None:
        return None
    if found.hedged:
        return Extraction("ambiguous", "whole_hedged")
    return Extraction("found", "whole", found)


class Unannounced(NamedTuple):
    """A response that announces no answer: its sentences and its text."""

    sentences: list[str]
    text: str


def unannounced(response: str, asked: Asked) -> Unannounced | None:
    """What the places are asked about; None for a response that announces its answer or is short enough to be one."""
    text = prepare_reply(response).text
    if not text:
        return None
    plain = without_emphasis(fold_width(text))
    if asked.kind == "choice":
        plain = without_choice_list(plain, asked.choices)
    announced_one = _formal_and_stated(plain, text, asked, [])
    if (announced_one and announced_one.rule != _UNREAD) or _whole(plain, text, asked, []):
        return None
    return Unannounced(split_sentences(plain), text)


def _elsewhere(plain: str, text: str, asked: Asked, tried: list[str]) -> Extraction | None:
    sentences = split_sentences(plain)
    for rule, place in places(asked):
        found = place(sentences, text, asked)
        tried.append(f"{rule}: {[r.text for r in found][:4]}")
        if found:
            if asked.kind in ("number", "math", "list") and abstains(sentences[-1]):
                # It was that of an example ("For x^2 it is 2. Without the function it cannot be told."), or is in
                # doubt.
                return Extraction("ambiguous", f"{rule}_taken_back") if _BUT.search(sentences[-1]) else None
            if any(not reading.same_answer(r, found[-1], asked) for r in found):
                return Extraction("ambiguous", f"{rule}_several")
            if found[-1].hedged:
                return Extraction("ambiguous", f"{rule}_hedged")
            return Extraction("found", rule, found[-1])
    return None


_BUT = re.compile(r"\b(?:but|still|nevertheless)\b", re.IGNORECASE)


def extraction_key(found: Extraction, asked: Asked) -> Hashable:
    """What two extractions are compared by."""
    return reading.key(found.reading, asked) if found.reading else None
