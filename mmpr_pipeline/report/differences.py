"""What two responses share, word by word, and where each states its answer. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

MOST_WORDS = 1200
"""With more differing words than this only the common beginning and end are found: matching costs their product."""
LEAST_RUN = 3
"""Fewer common words in a row do not count in the middle: lone shared words are noise to the eye."""

_WORD = re.compile(r"(?:[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s])\s*|\s+")


@dataclass(frozen=True)
class TextSpan:
    """A stretch of a response: whether the other response has it too, and whether it is the answer found."""

    text: str
    shared: bool
    answer: bool = False


def compare_texts(
    one: str, other: str, answers: tuple[str | None, str | None] = (None, None), shared_chars: int = 0
) -> tuple[list[TextSpan], list[TextSpan]]:
    """Both responses as pieces, which joined give the response again.

    `answers` are the answers that the checker found; each is marked where the response states it last. The first
    `shared_chars` characters count as shared even where a word is cut (DropNTP).
    """
    cut = shared_chars if one[:shared_chars] == other[:shared_chars] else 0
    # Spans of characters that both word lists have in common, in each.
    shared_one = _WORD.findall(one[cut:])
    shared_other = _WORD.findall(other[cut:])
    head = _common(shared_one, shared_other)
    tail = _common(shared_one[head:][::-1], shared_other[head:][::-1])
    tail = tail if tail >= LEAST_RUN else 0
    middles = shared_one[head : len(shared_one) - tail], shared_other[head : len(shared_other) - tail]
    blocks = [(0, 0, head)]
    if max(map(len, middles)) <= MOST_WORDS:
        found = SequenceMatcher(None, *middles).get_matching_blocks()
        blocks += [(a + head, b + head, size) for a, b, size in found if size >= LEAST_RUN]
    blocks.append((len(shared_one) - tail, len(shared_other) - tail, tail))
    spans = (
        _spans(shared_one, [(a, size) for a, _, size in blocks]),
        _spans(shared_other, [(b, size) for _, b, size in blocks]),
    )
    left, right = ([(0, cut), *((a + cut, b + cut) for a, b in side)] for side in spans)
    return _pieces(one, left, answer_span(one, answers[0])), _pieces(other, right, answer_span(other, answers[1]))


def answer_span(text: str, answer: str | None) -> tuple[int, int]:
    """Where `text` states `answer` last, as a whole word; (0, 0) where it does not."""
    answer = (answer or "").strip()
    end = len(text)
    while answer and (start := text.rfind(answer, 0, end)) >= 0:
        stop = start + len(answer)
        before, after = text[start - 1 : start], text[stop : stop + 1]
        if not (_wordy(before) and _wordy(answer[0])) and not (_wordy(after) and _wordy(answer[-1])):
            return start, stop
        end = stop - 1
    return 0, 0


def _wordy(char: str) -> bool:
    return char.isascii() and char.isalnum()


def _common(one: list[str], other: list[str]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _spans(words: list[str], blocks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    return [(starts[first], starts[first + size]) for first, size in blocks if size]


def _pieces(text: str, shared: list[tuple[int, int]], answer: tuple[int, int]) -> list[TextSpan]:
    """The text cut at every border of a span."""
    borders = sorted({0, len(text), *answer, *(border for span in shared for border in span)})
    pieces: list[TextSpan] = []
    for start, stop in pairwise(borders):
        common = any(a <= start and stop <= b for a, b in shared)
        is_answer = answer[0] <= start and stop <= answer[1]
        if pieces and (pieces[-1].shared, pieces[-1].answer) == (common, is_answer):
            pieces[-1] = TextSpan(pieces[-1].text + text[start:stop], common, is_answer)
        else:
            pieces.append(TextSpan(text[start:stop], common, is_answer))
    return pieces
