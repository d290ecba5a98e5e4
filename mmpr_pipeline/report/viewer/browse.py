"""Finding questions in a dataset of any size: shard by shard from a place on, until enough are found or time is up.

Nothing is read that is not needed: manifests say which shards hold a source, a shard is opened when the search comes
to it, and at most OPEN_SHARDS shards keep their indexes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.dataset import layout
from mmpr_pipeline.dataset.manifest import Manifest, merge, read_manifest
from mmpr_pipeline.dataset.marks import Mark, append_mark, marks_of
from mmpr_pipeline.dataset.summary import shards_of
from mmpr_pipeline.report.shard_files import ShardFiles
from mmpr_pipeline.storage import open_store

OPEN_SHARDS = 4
SEARCH_SECONDS = 1.5
"""A search answers after about this long with what it found, and where to go on."""

Verdict = Literal["", "correct", "incorrect", "unparseable", "unchecked", "mixed"]
_SHOWN = ("question_id", "source", "source_id", "status", "reason", "kind", "answer", "pairs", "rollouts", "correct",
          "incorrect", "unparseable")  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """What is looked for; an empty field says nothing. `text` is looked for in the question, its ids and responses."""

    source: str = ""
    strategy: str = ""
    status: str = ""
    reason: str = ""
    verdict: Verdict = ""
    text: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Place:
    """A question's shard, and its row in the questions file."""

    shard: int
    row: int


@dataclass(frozen=True)
class Found:
    """Some questions in the dataset's order, and the place from which to go on: None at the end."""

    items: list[dict[str, Any]]
    following: Place | None


class Library:
    """The finished shards of a dataset, also of one that is still being built. Safe to use from several threads.

    Raises DatasetError where no shard is finished.
    """

    def __init__(self, out: str | Path) -> None:
        self.store = open_store(out)
        self.of = shards_of(self.store)
        self._open: OrderedDict[int, ShardFiles] = OrderedDict()
        self._matches: OrderedDict[tuple[int, Filter], np.ndarray] = OrderedDict()
        self._lock = Lock()
        self.marks: dict[tuple[str, int], Mark] = marks_of(self.store)

    @cached_property
    def manifests(self) -> dict[int, Manifest]:
        """Manifests of the finished shards."""
        keys = {layout.manifest(shard, self.of): shard for shard in range(self.of)}
        present = [key for key in self.store.list("manifests/") if key in keys]
        return {keys[key]: read_manifest(self.store.read(key), key) for key in present}

    def overview(self) -> dict[str, Any]:
        """Totals, and what can be filtered by."""
        counts = merge(m.counts for m in self.manifests.values())
        names = sorted({name for m in self.manifests.values() for name in m.sources})
        return {
            "shards": self.of,
            "finished": len(self.manifests),
            "questions": counts.questions,
            "pairs": sum(counts.pairs.values()),
            "rollouts": sum(counts.rollouts.values()),
            "sources": names,
            "strategies": sorted(counts.pairs),
            "reasons": {"unpaired": sorted(counts.unpaired), "rejected": sorted(counts.rejected)},
            "marks": len(self.marks),
        }

    def shard(self, number: int) -> ShardFiles:
        """One shard. Raises KeyError where it is not finished or not there."""
        with self._lock:
            if number not in self.manifests:
                raise KeyError(number)
            files = self._open.pop(number, None) or ShardFiles(self.store, number, self.of)
            self._open[number] = files
            while len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
            return files

    def search(self, wanted: Filter, start: Place, limit: int, seconds: float = SEARCH_SECONDS) -> Found:
        """The first `limit` questions from `start` on that match; fewer where time is up."""
        until = time.monotonic() + seconds
        items: list[dict[str, Any]] = []
        for shard in range(start.shard, self.of):
            if shard > start.shard and time.monotonic() > until:
                return Found(items, Place(shard, 0))
            if not self._may_hold(shard, wanted):
                continue
            files = self.shard(shard)
            rows = self._matching(files, wanted)
            first = int(np.searchsorted(rows, start.row)) if shard == start.shard else 0
            for row in rows[first:].tolist():
                if len(items) == limit:
                    return Found(items, Place(shard, row))
                items.append(self._item(files, row))
        return Found(items, None)

    def find(self, name: str) -> tuple[Place, str | None] | None:
        """Where the question with this id is, or that of the pair with this id (which is then named too)."""
        for files in map(self.shard, self.manifests):
            if (row := files.row_of.get(name)) is not None:
                return Place(files.shard, row), None
            if (question_id := files.question_of_pair(name)) is not None:
                return Place(files.shard, files.row_of[question_id]), name
        return None

    def mark(self, mark: Mark) -> None:
        """Keep a mark, durably."""
        append_mark(self.store, mark)
        with self._lock:
            if mark.outcome == "clear":
                self.marks.pop((mark.question_id, mark.index), None)
            else:
                self.marks[mark.question_id, mark.index] = mark

    def marks_on(self, question_id: str) -> dict[int, Mark]:
        """Marks on the rollouts of a question, by index."""
        with self._lock:
            return {index: mark for (name, index), mark in self.marks.items() if name == question_id}

    def _may_hold(self, shard: int, wanted: Filter) -> bool:
        manifest = self.manifests.get(shard)
        if manifest is None:
            return False
        counts = manifest.sources.get(wanted.source) if wanted.source else manifest.counts
        return counts is not None and not (wanted.strategy and not counts.pairs.get(wanted.strategy))

    def _matching(self, files: ShardFiles, wanted: Filter) -> np.ndarray:
        """Rows of the questions of a shard that match; remembered, so that paging does not search again."""
        key = (files.shard, wanted)
        with self._lock:
            if (rows := self._matches.get(key)) is not None:
                return rows
            marked = {name for name, _ in self.marks}
        rows = np.flatnonzero(_mask(files, wanted, marked))
        if not wanted.marked:  # marks come and go
            with self._lock:
                self._matches[key] = rows
                while len(self._matches) > 4 * OPEN_SHARDS:
                    self._matches.popitem(last=False)
        return rows

    def _item(self, files: ShardFiles, row: int) -> dict[str, Any]:
        full = files.question(row)
        item = {name: full[name] for name in _SHOWN}
        images = full["images"]
        marks = len(self.marks_on(full["question_id"])) if full["question_id"] else 0
        return {
            **item, "shard": files.shard, "row": row, "text": (full["text"] or full["detail"])[:240], "marks": marks,
            "image": images[0] if images else None,
        }  # fmt: skip


def _mask(files: ShardFiles, wanted: Filter, marked: set[str]) -> np.ndarray:
    """Which questions of a shard match."""
    table = files.questions
    kept = np.ones(table.num_rows, bool)
    for name in ("source", "status", "reason"):
        if value := getattr(wanted, name):
            kept &= _bools(pc.equal(table.column(name), value))
    if wanted.verdict:
        counts = {name: table.column(name).to_numpy() for name in ("correct", "incorrect", "unparseable", "rollouts")}
        kept &= _has_verdict(counts, wanted.verdict)
    ids = table.column("question_id")
    if wanted.strategy:
        kept &= _bools(pc.is_in(ids, pa.array(_with_strategy(files.strategies, wanted.strategy), pa.string())))
    if wanted.marked:
        kept &= _bools(pc.is_in(ids, pa.array(sorted(marked), pa.string())))
    return kept & _says(files, wanted.text) if wanted.text and kept.any() else kept


def _with_strategy(strategies: Mapping[str, set[str]], wanted: str) -> list[str]:
    return [name for name, found in strategies.items() if wanted in found]


def _has_verdict(counts: dict[str, np.ndarray], verdict: Verdict) -> np.ndarray:
    checked = counts["correct"] + counts["incorrect"] + counts["unparseable"]
    if verdict == "unchecked":
        return (counts["rollouts"] > 0) & (checked == 0)
    if verdict == "mixed":
        return (counts["correct"] > 0) & (counts["incorrect"] > 0)
    return counts[verdict] > 0


def _says(files: ShardFiles, text: str) -> np.ndarray:
    table = files.questions
    found = _bools(pc.is_in(table.column("question_id"), pa.array(sorted(_naming(files, text)), pa.string())))
    for name in ("text", "source_id", "answer"):
        found |= _bools(pc.match_substring(table.column(name), text, ignore_case=True))
    return found


def _naming(files: ShardFiles, text: str) -> Iterator[str]:
    """Ids of questions that `text` names by id or pair, or whose responses contain it."""
    yield from files.questions_that_say(text)
    if len(text) == 32:
        yield text
        if found := files.question_of_pair(text):
            yield found


def _bools(values: pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(values, False).to_numpy().astype(bool)
