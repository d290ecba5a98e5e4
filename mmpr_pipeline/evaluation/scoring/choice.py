"""Multiple choice, by the rules of the benchmarks' authors; and yes or no: POPE (Li et al. 2023)."""

from __future__ import annotations

import re
import string

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.graded import Graded, conclusion

_IN_BRACKETS = re.compile(r"\(([A-Za-z])\)")
_PUNCTUATION = re.compile(r"[\n.,!?]")
_STATED = re.compile(r"(?:answer|choice|option)(?:\s+is)?\s*[:：]?\s*[*(\[]*([A-Z])\b(?!['’])", re.IGNORECASE)
_FIRST = re.compile(r"[\s*(\[]*([A-H])(?:$|[.):,\]*])")
_ALONE = re.compile(r"(?<![A-Za-z'’])(?!A (?!or\b|and\b|is\b)[a-z])([A-H])(?![A-Za-z'’])")  # `A man` names no choice
_LETTERS = re.compile(r"(?<![A-Za-z'’])(?!A [a-z])([A-H]{1,6})(?![A-Za-z'’])")
"""One letter or several written together: `BCD`."""


def checker_score(item: BenchmarkItem, response: str) -> Graded:
    """The verdict of this package's checker, as a build gives it."""
    verdict = check_question(item.question, response)
    return Graded(float(verdict.outcome == "correct"), verdict.extracted, verdict.rule)


def m3cot(item: BenchmarkItem, response: str) -> Graded:
    """M3CoT (Chen et al. 2024, `utils/metric.py` of the authors): the last `(X)` after the last `[Answer]`; else the
    last choice whose text is in the response; else the last capital, then small, letter that stands alone as a word."""
    text = conclusion(response)
    if "[Answer]" in text:
        text = text.rsplit("[Answer]", 1)[1].split("[Rationale]")[0].split("[Context]")[0]
    said, rule = _m3cot_letter(text, item.question.choices)
    return Graded(float(said == item.question.answer), said, rule)


def _m3cot_letter(text: str, choices: tuple[str, ...]) -> tuple[str | None, str]:
    letters = string.ascii_uppercase[: len(choices)]
    if found := _IN_BRACKETS.findall(text):
        return found[-1].upper(), "bracket"
    if named := [letter for letter, choice in zip(letters, choices, strict=True) if choice.lower() in text.lower()]:
        return named[-1], "choice_text"
    words = set(_PUNCTUATION.sub(" ", text).split(" "))
    for form, rule in ((str.upper, "letter"), (str.lower, "small_letter")):
        if alone := [letter for letter in letters if form(letter) in words]:
            return alone[-1], rule
    return None, "none"


def crpe(item: BenchmarkItem, response: str) -> Graded:
    """CRPE (Wang et al. 2024): the letter of the answer; or, of prose, that the right choice's text is in it.

    VLMEvalKit takes the first letter of the text for it, so that `Answer: B` is right where A is.
    """
    text, gold = conclusion(response), item.text("correct_option").strip()
    said, rule = read_letter(text)
    if said is not None:
        return Graded(float(said == gold[:1].upper()), said, rule)
    # The text of the right choice, which stands in the question as `A. text`.
    if len(gold) > 1:
        right = gold[1:].lstrip(".): ").strip()
    else:
        listed = re.search(rf"^\(?{re.escape(gold)}[.):]\s*(.+)$", item.question.text, re.MULTILINE)
        right = listed[1].strip() if listed else ""
    return Graded(float(bool(right) and right.lower() in text.lower()), None, "choice_text")


def letter(item: BenchmarkItem, response: str) -> Graded:
    """The letter of one choice (V*, HR-Bench, MMStar): stated, first, or the only one that stands alone.

    These benchmarks leave reading the letter to a rule or to a model; this rule gives none where several are named.
    """
    said, rule = read_letter(conclusion(response))
    if said is None and item.question.choices:
        low = response.lower()
        named = [i for i, choice in enumerate(item.question.choices) if choice.lower() in low]
        if len(named) == 1:
            said, rule = string.ascii_uppercase[named[0]], "choice_text"
    return Graded(
        float(
            said is not None
            and said == (item.question.answer or item.text("answer") or item.text("label")).strip().upper()[:1]
        ),
        said,
        rule,
    )


def read_letter(text: str) -> tuple[str | None, str]:
    """The one letter that a text names, and by which rule."""
    if match := _FIRST.match(text):
        return match[1], "first"
    if stated := [m[1].upper() for m in _STATED.finditer(text)]:
        return stated[-1], "stated"
    alone = list(dict.fromkeys(_ALONE.findall(text)))
    alone = alone if len(alone) == 1 else list(dict.fromkeys(_IN_BRACKETS.findall(text)))
    return (alone[0].upper(), "alone") if len(alone) == 1 else (None, "none")


def letters(item: BenchmarkItem, response: str) -> Graded:
    """XLRS-Bench (Wang et al. 2025): the letters that are named, as a set, must be those of the gold."""
    text = conclusion(response)
    groups = _IN_BRACKETS.findall(text) or _LETTERS.findall(text)
    if not groups and all(c in "abcdefgh ,;." for c in text):
        groups = list(text)
    said = "".join(sorted({c.upper() for group in groups for c in group if c.isalpha()}))
    gold = "".join(sorted({c.upper() for c in item.text("answer") if c.isalpha()}))
    return Graded(float(bool(said) and said == gold), said or None, "letters")


_WORDS = re.compile(r"[a-z]+")


def stated_yes_no(text: str) -> str | None:
    """`yes` or `no` where the text says only one of them as a word; None otherwise, as VLMEvalKit reads it."""
    words = set(_WORDS.findall(text.lower()))
    if ("yes" in words) == ("no" in words):
        return None
    return "yes" if "yes" in words else "no"


def pope(item: BenchmarkItem, response: str) -> Graded:
    """Whether the object is in the image. POPE counts a response that is neither yes nor no as wrong, and as no `yes`.

    The authors' script takes the first sentence and looks for `No`, `not` or `no`, and takes all else for yes; both
    kits want one of the two words, and so do we: silence is no yes.
    """
    said, gold = stated_yes_no(conclusion(response)), (item.question.answer or "").strip().lower()
    parts = {"truth": float(gold == "yes"), "yes": float(said == "yes")}
    return Graded(float(said == gold), said, "yes_no", parts)
