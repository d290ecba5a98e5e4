"""Which verdicts are most likely wrong, so that a person looks at them first. Pure but for reading one shard.

Every sign is a guess, and its worth a rough probability, in percent, that a person would overrule the verdict (or the
gold); they order a queue and decide nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import pyarrow.compute as pc

from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.report.viewer.index import Column, Columns

LEAST = 4
"""Checked rollouts from which the others of a question say something about one of them."""
WEAK_RULES = {"choice_value_of_none": 45, "choice_mention": 40, "sentence_number": 45}
"""Rules that guess where others read, and what a verdict by them is worth."""
WHY = (
    "", "equal as text, judged incorrect", "gold within the answer", "close to the gold",
    "most agree on another answer than the gold", "one against all", "rule that guesses", "cut off, yet judged",
    "unparseable, yet states the gold", "far longer than the others",
)  # fmt: skip
"""Why a verdict is doubted; columns hold the place in this list."""
_EQUAL, _WITHIN, _CLOSE, _OUTVOTED, _ALONE, _WEAK, _CUT, _STATES, _LONG = range(1, len(WHY))
_LOOSE = re.compile(r"\\(?:text|mathrm|mathbf|left|right|boxed|,|;|!| )|[\s{}$*_.,;:?'\"()\[\]°]")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")


@dataclass(frozen=True)
class RolloutView:
    """One checked rollout, as far as doubts need it; `tail` is the end of an unparseable response, else empty."""

    index: int
    outcome: str
    extracted: str | None
    rule: str
    tokens: int
    cut_off: bool
    tail: str = ""


def doubt(golds: Sequence[str], kind: str, seen: Sequence[RolloutView]) -> tuple[int, int, int]:
    """Worth (0 to 99), rollout index and reason (place in WHY) of the greatest doubt about a question's verdicts.

    Each further reason for the same rollout adds a little.
    """
    signs: dict[int, list[tuple[int, int]]] = {}
    for index, worth, why in _signs([g for g in golds if g], kind, seen):
        signs.setdefault(index, []).append((worth, why))
    best = (0, 0, 0)
    for index, found in signs.items():
        worth, why = max(found)
        best = max(best, (min(99, worth + 4 * (len(found) - 1)), index, why), key=lambda one: (one[0], -one[1]))
    return best


def _signs(golds: list[str], kind: str, seen: Sequence[RolloutView]) -> Iterator[tuple[int, int, int]]:
    loose = {_loosely(gold) for gold in golds} - {""}
    lengths = [one.tokens for one in seen if one.tokens]
    usual = median(lengths) if len(lengths) >= LEAST else 0
    votes = Counter(one.outcome for one in seen)
    for one in seen:
        if one.outcome == "incorrect":
            yield from ((one.index, *sign) for sign in _near_misses(loose, kind, _loosely(one.extracted or "")))
        elif one.outcome == "unparseable" and kind != "choice" and _states(one.tail, golds):
            yield one.index, 50, _STATES
        if one.rule in WEAK_RULES and one.outcome != "unparseable":
            yield one.index, WEAK_RULES[one.rule], _WEAK
        if one.cut_off and one.outcome != "unparseable":
            yield one.index, 40, _CUT
        if usual and one.tokens > 4 * usual and one.outcome == "correct":
            yield one.index, 25, _LONG
        others = votes["correct"] + votes["incorrect"]
        if others > LEAST and one.outcome != "unparseable" and votes[one.outcome] == 1:
            guessed = kind in ("choice", "yes_no") and one.outcome == "correct"
            yield one.index, (30 if guessed else 48) + min(others, 12), _ALONE
    yield from _outvoted(seen)


def _near_misses(golds: set[str], kind: str, answer: str) -> Iterator[tuple[int, int]]:
    if not answer:
        return
    if answer in golds:
        yield 95, _EQUAL
    elif kind not in ("choice", "yes_no"):
        if any(len(gold) > 2 and (gold in answer or (len(answer) > 2 and answer in gold)) for gold in golds):
            yield 55, _WITHIN
        if any(_close(gold, answer) for gold in golds):
            yield 58, _CLOSE


def _outvoted(seen: Sequence[RolloutView]) -> Iterator[tuple[int, int, int]]:
    """A wrong answer that most rollouts agree on: perhaps it is the gold that is wrong."""
    answers = Counter(_loosely(one.extracted) for one in seen if one.outcome == "incorrect" and one.extracted)
    answers.pop("", None)
    if not answers or len(seen) < LEAST:
        return
    answer, votes = answers.most_common(1)[0]
    if votes >= LEAST and votes >= 0.6 * len(seen):
        first = next(o.index for o in seen if o.outcome == "incorrect" and _loosely(o.extracted or "") == answer)
        yield first, 40 + int(40 * votes / len(seen)), _OUTVOTED


def _loosely(text: str) -> str:
    return _LOOSE.sub("", text[:200]).casefold()


def _close(one: str, other: str) -> bool:
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)):
        return False
    left, right = float(one), float(other)
    return left != right and abs(left - right) <= 0.02 * max(abs(left), abs(right))


def _states(tail: str, golds: Iterable[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", tail) for gold in golds if len(gold) > 1 or gold.isdigit())


def doubts_of(files: ShardFiles) -> Columns:
    """`doubt`, `doubt_index` and `why` of every question of a shard, in its order; zeros where there is no doubt."""
    seen: dict[str, list[RolloutView]] = {}
    names = ["question_id", "index", "outcome", "extracted", "rule", "tokens", "finish_reason"]
    for batch in record_batches(files.path("rollouts"), [*names, "text"]):
        checked = batch.filter(pc.is_valid(batch["outcome"]))
        tails = pc.if_else(
            pc.equal(checked["outcome"], "unparseable"), pc.utf8_slice_codeunits(checked["text"], -200, None), ""
        )
        columns = [checked[name].to_pylist() for name in names]
        for name, index, outcome, answer, rule, tokens, finish, tail in zip(*columns, tails.to_pylist(), strict=True):
            seen.setdefault(name, []).append(
                RolloutView(index, outcome, answer, rule or "", tokens, finish == "length", tail or "")
            )
    table = files.questions
    rows = zip(*(table.column(name).to_pylist() for name in ("question_id", "answer", "answers", "kind")), strict=True)
    found = [
        doubt([answer or "", *more], kind, seen[name]) if name in seen else (0, 0, 0)
        for name, answer, more, kind in rows
    ]
    worth, index, why = np.array(found, np.int64).reshape(-1, 3).T
    return {
        "doubt": Column(worth.astype(np.uint8)),
        "doubt_index": Column(np.minimum(index, 65_535).astype(np.uint16)),
        "why": Column(why.astype(np.uint8), WHY),
    }
