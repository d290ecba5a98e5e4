"""The list of choices, said over again by a response: no choice is named by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

from mmpr_pipeline.checking.reading.choices import canonical

MOST_LABELS = 200
"""The first so many labels of a response are looked at."""

_LABEL = re.compile(
    r"[A-Ja-j(\[](?:(?<=[(\[])(?<![^\s,;:.\u3002\uff0c\uff1b\uff1a\]].)([A-Ja-j])[)\]]"
    r"|(?<=([A-J]))(?<![^\s,;:.\u3002\uff0c\uff1b\uff1a\]].)[).:\uff0e\u3001])[ \t]{0,4}(?=\S)",
    re.DOTALL,
)
_EVERY_OTHER = re.compile(r"[BDFHJbdfhj][)\].:\uff0e\u3001]")
"""One of two labels that follow each other is one of these."""
_BETWEEN = re.compile(r"[\s,;.\u3002\uff0c\uff1b]*(?:\b(?:or|and)\b)?[\s,;]*$")
_ITEM_END = re.compile(r"\n|[?\u3002;]|\.(?=\s|$)")


def without_choice_list(text: str, choices: Sequence[str]) -> str:
    """`text` without lists of choices: labels in a row, each with the text of a choice and no word more.

    Two choices named beside each other are an answer, not a list: a list has three, or all that there are, or labels
    that the question does not have (`(C) yes (D) no`).
    """
    if len(choices) < 2 or not _EVERY_OTHER.search(text):
        return text
    labels = list(islice(_LABEL.finditer(text), MOST_LABELS))
    if len(labels) < 2:
        return text
    texts = _texts(tuple(choices))
    items = [
        (mark, _item_end(text, mark.end(), after.start() if after else None, texts))
        for mark, after in zip(labels, [*labels[1:], None], strict=True)
    ]
    kept, last = [], 0
    # Items in a row, nothing between them, whose labels follow each other.
    runs: list[list[_Item]] = []
    for mark, end in items:
        if end < 0:
            runs.append([])
            continue
        before = runs[-1][-1] if runs and runs[-1] else None
        between = text[before[1] : mark.start()][:40] if before else ""
        if before and _index(mark) == _index(before[0]) + 1 and _BETWEEN.fullmatch(between):
            runs[-1].append((mark, end))
        else:
            runs.append([(mark, end)])
    for run in [run for run in runs if len(run) > 1]:
        if len(run) > 2 or len(run) == len(choices) or _index(run[-1][0]) >= len(choices):
            kept.append(text[last : run[0][0].start()])
            last = run[-1][1]
    return "".join([*kept, text[last:]])


@lru_cache(maxsize=512)
def _texts(choices: tuple[str, ...]) -> frozenset[str]:
    return frozenset(canonical(choice) for choice in choices)


_Item = tuple[re.Match[str], int]


def _item_end(text: str, start: int, stop: int | None, texts: frozenset[str]) -> int:
    """Where the item that begins at `start` ends, if it is the text of a choice; -1 if it is not."""
    inner = _BETWEEN.sub("", text[start:stop]) if stop is not None else None
    ends = [start + len(inner)] if inner is not None else []
    ends += [match.start() for match in _ITEM_END.finditer(text, start, start + 400)][:2]
    ends += [min(len(text), start + 400)] if stop is None else []
    return next((end for end in ends if canonical(text[start:end]) in texts), -1)


def _index(mark: re.Match[str]) -> int:
    return ord((mark[1] or mark[2]).upper()) - 65
