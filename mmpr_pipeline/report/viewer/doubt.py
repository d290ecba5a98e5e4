"""Which verdicts are most likely wrong, so that a person looks at them first. Pure but for reading one shard.

Every sign is a guess, and its worth a rough probability, in percent, that a person would overrule the verdict (or the
gold); they order a queue and decide nothing. All rollouts of a shard are weighed at once, as arrays: a million pairs
come with some four million rollouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.dataset.files.arrow_file import open_table
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.marks import Marks
from mmpr_pipeline.dataset.review.marks_summary import marks_summary, wilson_interval
from mmpr_pipeline.report.viewer.index import Column, Columns

LEAST = 4
"""Checked rollouts from which the others of a question say something about one of them."""
GUESSES = {"choice_value_of_none": 45, "choice_mention": 40, "rounds_gold": 45}
"""Rules that guess where others read, and what a verdict by them is worth."""
OVERRULED = 0.15
"""Where people overruled a rule at least this often (the lower end of a 95% interval), its verdicts are doubted."""
WHY = (
    "", "equal as text, judged incorrect", "second opinion disagrees", "gold within the answer", "close to the gold",
    "most agree on another answer than the gold", "one against all", "people often overrule this rule",
    "rule that guesses", "decided by the second opinion alone", "cut off, yet judged",
    "unparseable, yet states the gold", "far longer than the others",
)  # fmt: skip
"""Why a verdict is doubted; columns hold the place in this list."""
(_EQUAL, _DISAGREES, _WITHIN, _CLOSE, _OUTVOTED, _ALONE, _OFTEN_OVERRULED, _GUESS, _VERIFIER, _CUT, _STATES,
 _LONG) = range(1, len(WHY))  # fmt: skip
_LOOSE = re.compile(r"\\(?:text|mathrm|mathbf|left|right|boxed|,|;|!| )|[\s{}$*_.,;:?'\"()\[\]°]")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_TAIL = 200
"""Characters at the end of an unparseable response in which a gold is looked for."""
_WEIGHED = ("index", "outcome", "extracted", "rule", "tokens", "finish_reason")

Sign = tuple[np.ndarray, "int | np.ndarray", int]
"""Rollouts (their places), what the sign is worth there, and the reason (place in WHY)."""


def doubts_of(files: ShardFiles, overruled: Mapping[str, int] | None = None) -> Columns:
    """`doubt`, `doubt_index` and `why` of every question of a shard, in its order; zeros where there is no doubt. And
    `rule`, which judged most of a question's rollouts. `overruled` as `often_overruled` gives it."""
    table = files.questions
    rows = zip(*(table.column(name).to_pylist() for name in ("answer", "answers", "kind")), strict=True)
    questions = [([answer or "", *more], kind) for answer, more, kind in rows]
    rollouts = open_table(files.path("rollouts"), ["question_id", *_WEIGHED, "text"])
    ids = rollouts.column("question_id").combine_chunks().dictionary_encode()
    row = np.array([files.row_of.get(name, -1) for name in ids.dictionary.to_pylist()], np.int64)
    place = row[ids.indices.to_numpy()] if len(row) else row
    worth, index, why = doubts(questions, place, rollouts, overruled or {})
    return {
        "doubt": Column(worth.astype(np.uint8)),
        "doubt_index": Column(np.minimum(index, 65_535).astype(np.uint16)),
        "why": Column(why.astype(np.uint8), WHY),
        "rule": _main_rule(place, rollouts.column("rule"), len(questions)),
    }


def _main_rule(row: np.ndarray, rule: pa.ChunkedArray, questions: int) -> Column:
    """The rule of most rollouts of each question, the first by name of equally many; empty where none was checked."""
    coded = pc.fill_null(rule, "").combine_chunks().dictionary_encode()
    names = ["", *sorted(name for name in coded.dictionary.to_pylist() if name)]
    code = np.array([names.index(name) for name in coded.dictionary.to_pylist()], np.int64)[coded.indices.to_numpy()]
    judged = (row >= 0) & (code > 0)
    counts = np.bincount(row[judged] * len(names) + code[judged], minlength=questions * len(names))
    return Column(counts.reshape(questions, len(names)).argmax(1).astype(np.uint8), tuple(names))


def often_overruled(marks: Marks) -> dict[str, int]:
    """Rules whose verdicts people often overruled, by their marks on this dataset, and how often, in percent."""
    found = {}
    for rule, counts in marks_summary(marks)["rules"].items():
        if wilson_interval(counts["overruled"], counts["marked"])[0] >= OVERRULED:
            found[rule] = min(90, round(100 * counts["overruled"] / counts["marked"]))
    return found


def doubts(
    questions: Sequence[tuple[list[str], str]], row: np.ndarray, rollouts: pa.Table, overruled: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Worth (0 to 99), rollout index and reason (place in WHY) of the greatest doubt about each question's verdicts.

    `questions`: golds and kind; `row`: which of them each rollout answers, -1 for none; `rollouts`: its columns
    index, outcome, extracted, rule, tokens, finish_reason and text. Each further reason for the same rollout adds 4 to
    its worth.
    """
    checked = np.flatnonzero(pc.is_valid(rollouts.column("outcome")).to_numpy() & (row >= 0))
    seen = rollouts.select(_WEIGHED).take(checked)
    signs = [sign for sign in _signs(questions, row[checked], seen, checked, rollouts, overruled) if len(sign[0])]
    best: np.ndarray = np.zeros((3, len(questions)), np.int64)
    if not signs:
        return best[0], best[1], best[2]
    place = np.concatenate([places for places, *_ in signs])
    worth = np.concatenate([np.broadcast_to(worth, len(places)) for places, worth, _ in signs])
    why = np.concatenate([np.full(len(places), reason) for places, _, reason in signs])
    order = np.lexsort((-why, -worth, place))
    doubted, first, reasons = np.unique(place[order], return_index=True, return_counts=True)
    worth, why = np.minimum(99, worth[order][first] + 4 * (reasons - 1)), why[order][first]
    index = seen.column("index").to_numpy()[doubted]
    order = np.lexsort((index, -worth, row[checked][doubted]))
    found, first = np.unique(row[checked][doubted][order], return_index=True)
    best[:, found] = np.stack([worth, index, why])[:, order[first]]
    return best[0], best[1], best[2]


def _signs(
    questions: Sequence[tuple[list[str], str]],
    row: np.ndarray,
    seen: pa.Table,
    checked: np.ndarray,
    rollouts: pa.Table,
    overruled: Mapping[str, int],
) -> Iterator[Sign]:
    """Every sign of doubt. `seen` holds the checked rollouts, `row` the question of each, `checked` their places in
    `rollouts`, where the texts are."""

    def where(name: str, value: str) -> np.ndarray:
        said: np.ndarray = pc.fill_null(pc.equal(seen.column(name), value), False).to_numpy()
        return said

    right, wrong, unread = (where("outcome", name) for name in ("correct", "incorrect", "unparseable"))
    asked = len(questions)
    yield from _answers(questions, row, wrong, np.bincount(row, minlength=asked), seen.column("extracted"))
    for rule, worth in overruled.items():
        yield np.flatnonzero(where("rule", rule)), worth, _OFTEN_OVERRULED
    for rule, worth in GUESSES.items():
        yield np.flatnonzero(where("rule", rule) & ~unread), worth, _GUESS
    yield np.flatnonzero(where("rule", "second_disagrees")), 60, _DISAGREES
    yield np.flatnonzero(where("rule", "second_correct") | where("rule", "second_incorrect")), 35, _VERIFIER
    yield np.flatnonzero(where("finish_reason", "length") & ~unread), 40, _CUT
    tokens = seen.column("tokens").to_numpy()
    # The median length of each question's rollouts, in tokens; a length that none exceeds where fewer than LEAST
    # are known.
    known = np.flatnonzero(tokens > 0)
    lengths = tokens[known][np.lexsort((tokens[known], row[known]))]
    of = np.bincount(row[known], minlength=asked)
    ends = np.cumsum(of)
    usual = np.full(asked, np.inf)
    enough = of >= LEAST
    low, high = (ends - of + (of - 1) // 2)[enough], (ends - of + of // 2)[enough]
    usual[enough] = (lengths[low] + lengths[high]) / 2
    yield np.flatnonzero((tokens > 4 * usual[row]) & right), 25, _LONG
    votes = {True: np.bincount(row[right], minlength=asked), False: np.bincount(row[wrong], minlength=asked)}
    others = votes[True] + votes[False]
    few = np.array([kind in ("choice", "yes_no") for _, kind in questions], bool)  # may be guessed
    for side, verdict in ((True, right), (False, wrong)):
        alone = np.flatnonzero(verdict & (votes[side][row] == 1) & (others[row] > LEAST))
        worth = np.where(few[row[alone]] & side, 30, 48) + np.minimum(others[row[alone]], 12)
        yield alone, worth, _ALONE
    few = np.array([kind == "choice" for _, kind in questions], bool)
    candidates = np.flatnonzero(unread & ~few[row])
    tails = pc.utf8_slice_codeunits(rollouts.column("text").take(checked[candidates]), -_TAIL, None).to_pylist()
    states = [_states(tail, questions[question][0]) for tail, question in zip(tails, row[candidates], strict=True)]
    yield candidates[np.array(states, bool)], 50, _STATES


def _answers(
    questions: Sequence[tuple[list[str], str]],
    row: np.ndarray,
    wrong: np.ndarray,
    of: np.ndarray,
    extracted: pa.ChunkedArray,
) -> Iterator[Sign]:
    """Near-misses, and a wrong answer that most rollouts agree on: perhaps it is the gold that is wrong. Each answer
    of a question is compared once, however often it was given; `of` counts the checked rollouts of each question."""
    coded = extracted.combine_chunks().dictionary_encode()
    names: dict[str, int] = {"": 0}
    loose = [names.setdefault(_loosely(answer), len(names)) for answer in coded.dictionary.to_pylist()]
    answer = np.array([*loose, 0], np.int64)[pc.fill_null(coded.indices, -1).to_numpy()]
    places = np.flatnonzero(wrong & (answer > 0))
    key, first, which, votes = np.unique(
        row[places] * len(names) + answer[places], return_index=True, return_inverse=True, return_counts=True
    )
    known = list(names)
    reasons: np.ndarray = np.zeros(len(key), np.uint8)
    for at, (question, code) in enumerate(zip(*(part.tolist() for part in divmod(key, len(names))), strict=True)):
        golds, kind = questions[question]
        reasons[at] = _near_miss(_loose_golds(tuple(golds), kind), known[code])
    for bit, worth, why in ((1, 95, _EQUAL), (2, 55, _WITHIN), (4, 58, _CLOSE)):
        yield places[(reasons[which] & bit) > 0], worth, why
    checked = of[key // len(names)]
    agreed = (votes >= LEAST) & (votes >= 0.6 * checked)
    yield places[first[agreed]], 40 + 40 * votes[agreed] // checked[agreed], _OUTVOTED


Golds = tuple[frozenset[str], tuple[str, ...], tuple[float, ...]]
"""Golds loosely written: all of them; those that an answer may hold or be part of; those that are numbers."""


@lru_cache(maxsize=10_000)
def _loose_golds(golds: tuple[str, ...], kind: str) -> Golds:
    loose = frozenset(_loosely(gold) for gold in golds) - {""}
    if kind in ("choice", "yes_no"):
        return loose, (), ()
    values = (_number(gold) for gold in loose)
    return loose, tuple(gold for gold in loose if len(gold) > 2), tuple(value for value in values if value is not None)


def _near_miss(golds: Golds, answer: str) -> int:
    """Bits: 1 where a wrong answer equals a gold, 2 where one is within the other, 4 where both are close numbers."""
    loose, longer, values = golds
    if answer in loose:
        return 1
    found = 0
    for gold in longer:
        if gold in answer or (len(answer) > 2 and answer in gold):
            found = 2
    number = _number(answer) if values else None
    for value in values:
        if number is not None and value != number and abs(value - number) <= 0.02 * max(abs(value), abs(number)):
            found |= 4
    return found


@lru_cache(maxsize=100_000)
def _loosely(text: str | None) -> str:
    return _LOOSE.sub("", (text or "")[:200]).casefold()


@lru_cache(maxsize=100_000)
def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _states(tail: str, golds: Sequence[str]) -> bool:
    """Whether a gold of more than a sign, or a digit, stands in the text as a word of its own."""
    for gold in golds:
        at = tail.find(gold) if len(gold) > 1 or gold.isdigit() else -1
        while at >= 0:
            before, after = tail[at - 1 : at], tail[at + len(gold) : at + len(gold) + 1]
            if not (before.isalnum() or after.isalnum() or before == "_" or after == "_"):
                return True
            at = tail.find(gold, at + 1)
    return False
