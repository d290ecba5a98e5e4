"""The shards of a dataset as the viewer sees them: what is finished, also while a build goes on, and what it holds.

Nothing is read that is not needed: manifests say what is there, a shard is opened when something of it is shown, and at
most OPEN_SHARDS shards keep their indexes.
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import Manifest, merge_counts, read_manifest
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.marks import Mark, Marks, append_mark, read_all
from mmpr_pipeline.dataset.review.marks_summary import MarksSummary, marks_summary
from mmpr_pipeline.report.viewer.doubt import doubts_of, often_overruled
from mmpr_pipeline.report.viewer.index import Columns, columns_of
from mmpr_pipeline.report.viewer.origin import Origins
from mmpr_pipeline.storage.store import MissingKeyError, Store, open_store

OPEN_SHARDS = 24
ANSWER_SECONDS = 1.0
"""A search, or a piece of the index, answers after about this long with what it has, and where to go on."""
FIRST_SECONDS = 0.2
"""The first piece comes sooner: there is nothing on the page yet."""
KEPT_BYTES = 512 << 20
"""Most bytes of questions' texts kept in memory, so that a search opens no file; some hundred bytes a question."""
THREADS = min(8, os.cpu_count() or 1)
FRESH_SECONDS = 1.5
"""How long the list of finished shards is taken for true."""


@dataclass(frozen=True)
class QuestionPlace:
    """A question's shard, and its row in the questions file."""

    shard: int
    row: int


@dataclass(frozen=True)
class BrowsePart:
    """Something of some shards: the next number to ask from, None at the end."""

    items: list[Any]
    following: int | None


class Library:
    """The finished shards of a dataset, also of one of which none is finished yet. Safe to use from several threads.

    Raises DatasetError where there is no build.
    """

    def __init__(self, out: str | Path) -> None:
        self.store = open_store(out)
        self.of = _shards(self.store)
        self._open: OrderedDict[int, ShardFiles] = OrderedDict()
        self._texts: dict[int, pa.Table] = {}
        self._texts_bytes = 0
        self.origins = Origins(self.store, self.of)
        self._pool = ThreadPoolExecutor(THREADS)
        self._lock, self._refreshing = Lock(), Lock()
        self._manifests: dict[int, Manifest] = {}
        self._looked = -FRESH_SECONDS
        self._doubts: dict[int, Columns] = {}
        self._overruled: dict[str, int] = {}
        self.marks: Marks = read_all(self.store)
        self.refresh()

    @property
    def order(self) -> list[int]:
        """The finished shards in the order in which they were first seen: an index only ever grows at its end."""
        return list(self._manifests)

    @property
    def complete(self) -> bool:
        """Whether every shard is finished."""
        return len(self._manifests) == self.of

    def refresh(self) -> None:
        """Look for shards that were finished since; at most once in FRESH_SECONDS."""
        with self._refreshing:
            if self.complete or time.monotonic() < self._looked + FRESH_SECONDS:
                return
            keys = {layout.shard_key("manifest", shard, self.of): shard for shard in range(self.of)}
            for key in self.store.list("manifests/"):
                if key in keys and keys[key] not in self._manifests:
                    self._manifests[keys[key]] = read_manifest(self.store.read(key), key)
            self._looked = time.monotonic()

    def overview(self) -> dict[str, Any]:
        """Totals of the finished shards."""
        self.refresh()
        manifests = list(self._manifests.values())
        counts = merge_counts(manifest.counts for manifest in manifests)
        return {
            "shards": self.of,
            "finished": len(manifests),
            "questions": counts.questions,
            "pairs": sum(counts.pairs.values()),
            "rollouts": sum(counts.rollouts.values()),
            "marks": len(self.marks),
        }

    def shard(self, number: int) -> ShardFiles:
        """One shard. Raises KeyError where it is not finished or not there."""
        with self._lock:
            if number not in self._manifests:
                raise KeyError(number)
            files = self._open.pop(number, None) or ShardFiles(self.store, number, self.of)
            self._open[number] = files
            while len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
            return files

    def index(self, start: int, seconds: float | None = None) -> BrowsePart:
        """Columns of the finished shards from number `start` of `order` on."""

        def columns(shard: int) -> Columns:
            files = self._passing(shard)
            self._keep_texts(files)
            return columns_of(files)

        return self._parts(start, seconds, columns)

    def doubts(self, start: int, seconds: float | None = None) -> BrowsePart:
        """Doubts about the verdicts of the same shards, kept once they are known; who asks from the start gets them
        anew where people's marks have changed which rules are trusted."""
        with self._lock:
            if start == 0 and (overruled := often_overruled(self.marks)) != self._overruled:
                self._doubts, self._overruled = {}, overruled

        def known(shard: int) -> Columns:
            if shard not in self._doubts:
                self._doubts[shard] = doubts_of(self._passing(shard), self._overruled)
            return self._doubts[shard]

        return self._parts(start, seconds, known)

    def search(self, text: str, start: int, *, responses: bool, seconds: float | None = None) -> BrowsePart:
        """[place in `order`, rows] of each shard with questions that say `text`: in question, answer and ids, or else
        in their responses."""

        def found(shard: int) -> tuple[int, list[int]]:
            files = self._passing(shard)
            table = self._keep_texts(files)
            if responses:
                answered = sorted(files.questions_that_say(text))
                mask = _bools(pc.is_in(table.column("question_id"), pa.array(answered, pa.string())))
            else:
                mask = _in_question(files, table, text)
            return shard, np.flatnonzero(mask).tolist()

        part = self._parts(start, seconds, found)
        places = {shard: place for place, shard in enumerate(self.order)}
        return BrowsePart([[places[shard], rows] for shard, rows in part.items if rows], part.following)

    def rows(self, places: list[QuestionPlace]) -> list[dict[str, Any]]:
        """What a list shows of these questions beside their index: text, answer, ids, the first image."""
        listed = []
        for place in places:
            full = self.shard(place.shard).question(place.row)
            shown = full["text"] or f"{full['source_id']}: {full['detail']}".removesuffix(": ")
            kept = {name: value for name, value in full.items() if name in _LISTED}
            listed.append({**kept, "text": shown[:MOST_LISTED], "image": next(iter(full["images"]), None)})
        return listed

    def find(self, name: str) -> tuple[QuestionPlace, str | None] | None:
        """Where the question with this id is, or that of the pair with this id (which is then named too)."""
        for files in map(self._passing, self.order):
            if (row := files.row_of.get(name)) is not None:
                return QuestionPlace(files.shard, row), None
            if (question_id := files.question_of_pair(name)) is not None:
                return QuestionPlace(files.shard, files.row_of[question_id]), name
        return None

    def mark(self, mark: Mark) -> None:
        """Keep a mark, durably."""
        append_mark(self.store, mark)
        with self._lock:
            self.marks.add(mark)

    def marked(self) -> tuple[list[Mark], MarksSummary]:
        """Every mark that counts, and what they say of the dataset."""
        with self._lock:
            return list(self.marks), marks_summary(self.marks)

    def marks_on(self, question_id: str) -> dict[int, list[Mark]]:
        """Marks on the rollouts of a question, by index."""
        with self._lock:
            return self.marks.on(question_id)

    def _passing(self, shard: int) -> ShardFiles:
        """A shard that is looked at in passing: it drives none out that a person has open."""
        with self._lock:
            return self._open.get(shard) or ShardFiles(self.store, shard, self.of)

    def _keep_texts(self, files: ShardFiles) -> pa.Table:
        """What a search of the questions looks at; from memory where the first KEPT_BYTES of all hold it."""
        if (table := self._texts.get(files.shard)) is None:
            table = files.questions.select(_SEARCHED)
            with self._lock:
                if self._texts_bytes + table.nbytes <= KEPT_BYTES and files.shard not in self._texts:
                    self._texts[files.shard] = table
                    self._texts_bytes += table.nbytes
        return table

    def _parts(self, start: int, seconds: float | None, make: Callable[[int], Any]) -> BrowsePart:
        """What `make` finds in each shard, in their order, several at a time, until the time is over."""
        if seconds is None:
            seconds = ANSWER_SECONDS if start else FIRST_SECONDS
        until = time.monotonic() + seconds
        items: list[Any] = []
        order = self.order
        shards = iter(order[start:])
        waiting = deque(self._pool.submit(make, shard) for shard in islice(shards, 2 * THREADS))
        while waiting:
            items.append(waiting.popleft().result())
            if time.monotonic() < until and (shard := next(shards, None)) is not None:
                waiting.append(self._pool.submit(make, shard))
        following = start + len(items)
        return BrowsePart(items, following if following < len(order) else None)


def _shards(store: Store) -> int:
    """Shards of a dataset or of a build that has just begun. Raises DatasetError where there is neither."""
    found = [key.removesuffix(".json").rpartition("-of-")[2] for key in store.list("manifests/")]
    if found and found[0].isdecimal():
        return int(found[0])
    try:
        return int(json.loads(store.read(layout.CONFIG))["config"]["shards"])
    except (MissingKeyError, ValueError, KeyError, TypeError):
        raise DatasetError(
            f"{store.url} holds no build.", remedy="Give the output of `mmpr build`, or of `mmpr train`."
        ) from None


_LISTED = ("question_id", "source", "source_id", "status", "reason", "answer", "detail")
MOST_LISTED = 240
"""Characters of a question in a list."""


_SEARCHED = ("text", "source_id", "answer", "question_id")


def _in_question(files: ShardFiles, table: pa.Table, text: str) -> np.ndarray:
    found = np.zeros(table.num_rows, bool)
    for name in ("text", "source_id", "answer"):
        found |= _bools(pc.match_substring(table.column(name), text, ignore_case=True))
    names = [text, files.question_of_pair(text) or text] if len(text) == 32 else []
    result: np.ndarray = found | _bools(pc.is_in(table.column("question_id"), pa.array(names, pa.string())))
    return result


def _bools(values: pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = pc.fill_null(values, False).to_numpy().astype(bool)
    return found
