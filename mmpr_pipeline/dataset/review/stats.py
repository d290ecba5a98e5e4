"""What a dataset is made of: pairs by source and strategy, solve rates, lengths, and why questions have no pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict, cast

import numpy as np
import pyarrow as pa

from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, sound_file
from mmpr_pipeline.dataset.files.summary import (
    DatasetTotals,
    PlanSummary,
    finished_shards,
    manifests_of,
    shards_of,
    summarise,
)
from mmpr_pipeline.storage import open_store

SOLVE_BINS = 10
"""Bins of the solve-rate histogram: [0, 0.1), [0.1, 0.2), ..., [0.9, 1.0]; exact 0 and 1 are counted apart."""


class LengthFigures(TypedDict):
    """Tokens of some responses; zeros where none is known."""

    count: int
    mean: float
    p50: int
    p95: int
    max: int


class GroupFigures(TypedDict):
    """The pairs of one source and strategy. `chosen_longer`: share of pairs whose chosen response has more tokens than
    the rejected one; None where not known."""

    source: str
    strategy: str
    pairs: int
    questions: int
    prompt_tokens: LengthFigures
    chosen_tokens: LengthFigures
    rejected_tokens: LengthFigures
    chosen_longer: float | None


class SolveRates(TypedDict):
    """Questions of a source with checked rollouts, by the share judged correct: none, all, and the bins between."""

    none: int
    bins: list[int]
    all: int


class DatasetStats(DatasetTotals, PlanSummary):
    """The totals, and what the rows tell. `finished`: shards counted; `pairs_per_question`: how many questions have 1,
    2, ... pairs."""

    finished: int
    groups: list[GroupFigures]
    solve_rates: dict[str, SolveRates]
    pairs_per_question: dict[int, int]


class LengthHistogram:
    """A histogram of whole numbers: exact mean and percentiles in memory that depends on the greatest number only."""

    def __init__(self) -> None:
        self._histogram: np.ndarray = np.zeros(1, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count non-negative integers."""
        found = np.bincount(values, minlength=len(self._histogram))
        found[: len(self._histogram)] += self._histogram
        self._histogram = found

    def counts(self) -> dict[int, int]:
        """How often each number was counted, where at all."""
        return {int(value): int(self._histogram[value]) for value in np.flatnonzero(self._histogram)}

    def summary(self) -> LengthFigures:
        """count, mean, p50, p95 and max; zeros where nothing was counted."""
        count = int(self._histogram.sum())
        if not count:
            return {"count": 0, "mean": 0.0, "p50": 0, "p95": 0, "max": 0}
        cumulated = np.cumsum(self._histogram)
        p50, p95 = (int(np.searchsorted(cumulated, np.ceil(count * share))) for share in (0.5, 0.95))
        mean = float(self._histogram @ np.arange(len(self._histogram)) / count)
        return {"count": count, "mean": round(mean, 1), "p50": p50, "p95": p95, "max": len(self._histogram) - 1}


def stats(out: str | Path, progress: Callable[[int, int], None] | None = None) -> DatasetStats:
    """Figures of a dataset as plain data, of what is finished where a build goes on: the summary's, and

    `groups`: for each source and strategy: pairs, questions, prompt/chosen/rejected token counts (count, mean, p50,
    p95, max; of those known), `chosen_longer` (share of pairs whose chosen response has more tokens than the rejected
    one; null where not known);
    `solve_rates`: for each source the questions with checked rollouts by share judged correct: `none`, `all`, and
    `bins` in between; `pairs_per_question`: how many questions have 1, 2, ... pairs; `finished`: shards counted here.

    Raises DatasetError where no shard is finished.
    """
    store = open_store(out)
    shards, done = shards_of(store), finished_shards(store)
    groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
    solved: dict[str, _Solved] = defaultdict(_Solved)
    per_question = LengthHistogram()
    for number, manifest in enumerate(manifests_of(store, shards, done)):
        with TemporaryDirectory(prefix="mmpr-") as folder:
            pairs, questions = (layout.shard_key(kind, manifest.shard, shards) for kind in ("pairs", "questions"))
            _add_pairs(sound_file(store, pairs, manifest.hashes[pairs], Path(folder)), groups)
            path = sound_file(store, questions, manifest.hashes[questions], Path(folder))
            _add_questions(path, solved, per_question)
        if progress:
            progress(number + 1, len(done))
    rows = {
        "finished": len(done),
        "groups": [group.figures(*name) for name, group in sorted(groups.items())],
        "solve_rates": {source: found.summary() for source, found in sorted(solved.items())},
        "pairs_per_question": per_question.counts(),
    }
    return cast(DatasetStats, {**summarise(store, shards, done), **rows})


class _Group:
    """Figures of the pairs of one source and strategy."""

    def __init__(self) -> None:
        self._tokens = {name: LengthHistogram() for name in ("prompt", "chosen", "rejected")}
        self._pairs, self._questions, self._known, self._longer = 0, 0, 0, 0

    def add(self, tokens: dict[str, np.ndarray], questions: int) -> None:
        for name, lengths in self._tokens.items():
            lengths.add(tokens[name][tokens[name] > 0])  # 0: not known
        self._pairs += len(tokens["chosen"])
        self._questions += questions
        known = (tokens["chosen"] > 0) & (tokens["rejected"] > 0)
        self._known += int(known.sum())
        self._longer += int((tokens["chosen"] > tokens["rejected"])[known].sum())

    def figures(self, source: str, strategy: str) -> GroupFigures:
        lengths = {name: each.summary() for name, each in self._tokens.items()}
        return {
            "source": source,
            "strategy": strategy,
            "pairs": self._pairs,
            "questions": self._questions,
            "prompt_tokens": lengths["prompt"],
            "chosen_tokens": lengths["chosen"],
            "rejected_tokens": lengths["rejected"],
            "chosen_longer": round(self._longer / self._known, 4) if self._known else None,
        }


class _Solved:
    """Questions of one source by the share of their rollouts judged correct."""

    def __init__(self) -> None:
        self._none, self._all = 0, 0
        self._bins: np.ndarray = np.zeros(SOLVE_BINS, np.int64)

    def add(self, correct: np.ndarray, checked: np.ndarray) -> None:
        correct, checked = correct[checked > 0], checked[checked > 0]
        self._none += int((correct == 0).sum())
        self._all += int((correct == checked).sum())
        between = (correct > 0) & (correct < checked)
        self._bins += np.bincount(correct[between] * SOLVE_BINS // checked[between], minlength=SOLVE_BINS)

    def summary(self) -> SolveRates:
        return {"none": self._none, "bins": self._bins.tolist(), "all": self._all}


def _add_pairs(path: Path, groups: dict[tuple[str, str], _Group]) -> None:
    columns = ["source", "strategy", "question_id", "prompt_tokens", "chosen_tokens", "rejected_tokens"]
    last: dict[tuple[str, str], str] = {}
    for batch in record_batches(path, columns):
        names = list(zip(batch.column("source").to_pylist(), batch.column("strategy").to_pylist(), strict=True))
        ids = batch.column("question_id").to_pylist()
        for group in sorted(set(names)):
            rows = np.array([name == group for name in names])
            new = 0
            for question_id in (i for i, mine in zip(ids, rows, strict=True) if mine):  # side by side: a change is new
                new += question_id != last.get(group)
                last[group] = question_id
            tokens = {name: _ints(batch, f"{name}_tokens")[rows] for name in ("prompt", "chosen", "rejected")}
            groups[group].add(tokens, new)


def _add_questions(path: Path, solved: dict[str, _Solved], per_question: LengthHistogram) -> None:
    columns = ["source", "correct", "incorrect", "unparseable", "pairs"]
    for batch in record_batches(path, columns):
        sources = np.array(batch.column("source").to_pylist(), object)
        correct = _ints(batch, "correct")
        checked = correct + _ints(batch, "incorrect") + _ints(batch, "unparseable")
        for source in sorted(set(sources)):
            rows = sources == source
            solved[source].add(correct[rows], checked[rows])
        pairs = _ints(batch, "pairs")
        per_question.add(pairs[pairs > 0])


def _ints(batch: pa.RecordBatch, name: str) -> np.ndarray:
    found: np.ndarray = np.maximum(batch.column(name).to_numpy(zero_copy_only=False), 0)
    return found
