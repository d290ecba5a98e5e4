r"""Where a response marks its answer: `\boxed{...}`, `<answer>...</answer>`, `"answer": ...`.

A `Span` is the text from the point at which an answer is announced, by a mark here or by words (see `triggers`); a
reader of the answer's kind (see `reading`) takes the answer from its beginning.
"""

from __future__ import annotations

import re
from typing import NamedTuple

FINAL, STATED = 0, 1
"""Tiers: a formal final answer; "the answer is ...". An answer is taken from the most explicit tier that has one."""

SPAN_CHARS = 600
BOX_CHARS = 4_000
"""The longest text that follows a mark; the longest box with its braces."""

MOST_SPANS = 12
"""The last so many announcements are looked at."""


class Span(NamedTuple):
    """Text that starts where an answer is announced; `closed` if its end is known (a box, a tag)."""

    text: str
    rule: str
    tier: int
    start: int
    end: int
    closed: bool = False


_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s{0,3}(?=\{)|\\boxed\s{1,3}(?=[^\s{])")
_BRACE = re.compile(r"\\[\\{}]|[{}]")
_TAG = re.compile(r"<(answer|final_answer|finalanswer|ans)\s{0,2}>", re.IGNORECASE)
_BOX_TOKEN = re.compile(r"<\|begin_of_box\|>")


def boxed_spans(text: str) -> list[Span]:
    r"""Every `\boxed{...}` with its braces balanced, outermost ones only, in order; unbalanced ones are left out."""
    found: list[Span] = []
    marks = list(_BOX.finditer(text)) if "\\" in text else []
    closings = matching_braces(text, marks[0].end()) if marks else {}
    for match in marks:
        if found and match.start() < found[-1].end:
            continue
        opening = match.end()
        if text[opening] != "{":
            found.append(Span(text[opening], "boxed", FINAL, match.start(), opening + 1, closed=True))
            continue
        closing = closings.get(opening)
        if closing is not None and closing - opening < BOX_CHARS:
            found.append(Span(text[opening + 1 : closing], "boxed", FINAL, match.start(), closing + 1, closed=True))
    return [box for box in found if any(c.isalnum() or c in "√∞≥≤+-∅\\" for c in _EMPTY.sub("", box.text))]


_EMPTY = re.compile(
    r"\\(?:h?phantom|vphantom)\s?\{[^{}]*\}|\\(?:quad|qquad|square|Box|hspace\{[^{}]*\}|text\s?\{\s*\}|[ ,;:!])"
)
r"""What a box to be filled in holds, which is no answer: `\phantom{2}`, `\square`."""


def matching_braces(text: str, start: int = 0) -> dict[int, int]:
    r"""For each `{` from `start` on that is closed, the index of its `}`; `\{` and `\}` do not count. Linear."""
    opened: list[int] = []
    closings: dict[int, int] = {}
    for token in _BRACE.finditer(text, start):
        if token[0] == "{":
            opened.append(token.start())
        elif token[0] == "}" and opened:
            closings[opened.pop()] = token.start()
    return closings


_TAG_END = re.compile(r"</(?:answer|final_answer|finalanswer|ans)\b", re.IGNORECASE)
_JSON = re.compile(
    r"\"(?:final[_ ]?)?answer\"\s{0,3}:\s{0,3}(?:\"([^\"\n]{1,300})\"|([^\s\",}\]][^,}\n]{0,100}))", re.IGNORECASE
)


def in_json(text: str) -> list[Span]:
    """Every value of an `"answer"` key."""
    found = list(_JSON.finditer(text))[-MOST_SPANS:] if '"' in text else []
    return [Span(m[1] or m[2], "json_answer", FINAL, m.start(), m.end(), closed=True) for m in found]


def tagged(text: str) -> list[Span]:
    """Every `<answer>...</answer>`; an unclosed one runs to the end of its text."""
    found = []
    for match in list(_TAG.finditer(text))[-MOST_SPANS:] if "<" in text else ():
        closing = _TAG_END.search(text, match.end())
        end = closing.start() if closing else min(len(text), match.end() + SPAN_CHARS)
        found.append(Span(text[match.end() : end].strip(), "answer_tag", FINAL, match.start(), end, closed=True))
    return found
