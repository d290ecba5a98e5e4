"""What was decided of every row of the sources: one byte a row, and for each dropped one, why.

The decision needs all rows at once, but of each only the 16 bytes of its content's hash, in numpy arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.screening import DROPPED, STATUS
from mmpr_pipeline.screening.chunks import read_table, row_digest
from mmpr_pipeline.screening.mixture import repetitions
from mmpr_pipeline.sources import Source, SourceIndex
from mmpr_pipeline.storage import Store

LEFT_OUT, ASKED, UNREADABLE, DUPLICATE, CONTAMINATED, NEAR_DUPLICATE = range(6)
"""Of a row: not in the mixture; asked; not a question that can be read; dropped."""

READ = (ASKED, UNREADABLE)
REASONS = {DUPLICATE: "duplicate_question", CONTAMINATED: "contaminated", NEAR_DUPLICATE: "near_duplicate"}

STATUS_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("status", pa.large_binary()),
        pa.field("seen", pa.list_(pa.string())),
    ]
)
"""`seen`: for each shard, `rows_digest` of the rows that it reads, so that it notices if they are others by then."""
DROPPED_SCHEMA = pa.schema(
    [
        pa.field(name, kind, metadata={"description": description})
        for name, kind, description in [
            ("source", pa.string(), "Source of the dropped row."),
            ("row", pa.int64(), "Its number in the source, from 0."),
            ("source_id", pa.string(), "Its id as the source gives it."),
            ("reason", pa.string(), "duplicate_question, near_duplicate or contaminated."),
            ("measure", pa.string(), "same, near, image, image_and_question or question."),
            ("of_source", pa.string(), "Source of the row that it is like."),
            ("of_row", pa.int64(), "Number of that row."),
            ("of_id", pa.string(), "Id of that row, of an evaluation source."),
            ("bits", pa.int16(), "Bits of 256 in which the images differ."),
            ("similarity", pa.float32(), "Jaccard index of the questions' word triples; of near ones, an estimate."),
        ]
    ]
)

_GAP = 256
"""Most unwanted rows that are read rather than jumped over: a jump opens the file anew."""


def first_of_each(keys: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """For each row the earlier valid row of the same key, -1 where it is the first; int64 of shape (n,).

    `keys`: uint64 of shape (n, 2). Rows that are not valid are nobody's first and have none. About 60 bytes a row.
    """
    earlier: np.ndarray = np.full(len(keys), -1, np.int64)
    rows = np.flatnonzero(valid)
    order = rows[np.lexsort((keys[rows, 1], keys[rows, 0]))]  # stable: rows of one key stay in their order
    if not len(order):
        return earlier
    starts = np.concatenate([[True], (keys[order][1:] != keys[order][:-1]).any(axis=1)])
    firsts = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    earlier[order[~starts]] = firsts[~starts]
    return earlier


def shard_bounds(status: np.ndarray, shard: int, num_shards: int) -> tuple[int, int]:
    """Rows [start, stop) of a source that a shard takes: every shard has as many asked rows, or one more or fewer."""
    asked = np.flatnonzero(status == ASKED)
    if not len(asked):
        return len(status) * shard // num_shards, len(status) * (shard + 1) // num_shards

    def start(number: int) -> int:
        position = len(asked) * number // num_shards
        return 0 if number == 0 else int(asked[position]) if position < len(asked) else len(status)

    return start(shard), start(shard + 1)


def shard_rows(status: np.ndarray, num_shards: int) -> Iterator[np.ndarray]:
    """The rows that each of the shards reads of a source, in order."""
    for shard in range(num_shards):
        start, stop = shard_bounds(status, shard, num_shards)
        yield start + np.flatnonzero(np.isin(status[start:stop], READ))


def rows_digest(digests: np.ndarray) -> str:
    """Hash over the `row_digest`s of some rows, as uint64, in order."""
    return hashlib.blake2b(digests.astype(">u8").tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Selection:
    """What was decided of the rows of one source that a shard takes."""

    start: int
    status: np.ndarray
    dropped: dict[int, Reject]
    repeat: int
    seen: str | None = None
    """`rows_digest` of what is to be read; None where it is not known."""

    def read(self, source: Source, index: SourceIndex) -> Iterator[Question | Reject]:
        """The rows in order, each asked one as often as it is asked; dropped ones are not even read again.

        Raises SourceError after the last one, where they are not those that were screened.
        """
        at = self.start
        digests: np.ndarray = np.zeros(len(self.status), np.uint64)
        for low, high in runs(np.isin(self.status, READ)):
            yield from self._rejects(at, self.start + low)
            rejected = []
            for row, item in enumerate(source.read(index, self.start + low, self.start + high), self.start + low):
                digests[row - self.start] = int.from_bytes(row_digest(item))
                if isinstance(item, Reject):
                    rejected.append(row)
                status = self.status[row - self.start]
                if status in REASONS:
                    yield self.dropped[row]
                elif status != LEFT_OUT:
                    yield from repetitions(item, self.repeat) if isinstance(item, Question) else [item]
            if rejected and self.seen:  # screening looked at no image: what was it that it saw of these?
                unseen = replace(source, looks=False).read(index, rejected[0], rejected[-1] + 1)
                for row, item in enumerate(unseen, rejected[0]):
                    digests[row - self.start] = int.from_bytes(row_digest(item))
            at = self.start + high
        yield from self._rejects(at, self.start + len(self.status))
        # Images of the web are not under the source's control, and may be another's or away.
        digest = rows_digest(digests[np.isin(self.status, READ)])
        if self.seen and not source.declaration.image_hosts and digest != self.seen:
            raise SourceError(
                f"Rows {self.start:,} to {self.start + len(self.status):,} of {source.name}, or their images, are not "
                "what they were when they were screened.",
                remedy="Restore the source's files, or start a new build with another --out.",
            )

    def _rejects(self, start: int, stop: int) -> Iterator[Reject]:
        for row in range(start, stop):
            if self.status[row - self.start] in REASONS:
                yield self.dropped[row]


def runs(wanted: np.ndarray) -> list[tuple[int, int]]:
    """Runs [low, high) that cover every wanted position, with gaps shorter than `_GAP` closed."""
    rows = np.flatnonzero(wanted)
    if not len(rows):
        return []
    cuts = np.flatnonzero(np.diff(rows) > _GAP)
    lows, highs = rows[np.concatenate([[0], cuts + 1])], rows[np.concatenate([cuts, [len(rows) - 1]])] + 1
    return [(int(low), int(high)) for low, high in zip(lows, highs, strict=True)]


def load_selections(
    store: Store, shard: int, num_shards: int, repeats: dict[str, int], hashes: Mapping[str, str]
) -> dict[str, Selection]:
    """What was decided of the rows that a shard takes, by source. `hashes`: sha256 of STATUS and DROPPED, as far as the
    report tells them.

    Raises MissingKeyError where there was no pass, DatasetError where what it left is damaged.
    """
    dropped = read_table(store, DROPPED, hashes.get(DROPPED))
    found = {}
    for row in read_table(store, STATUS, hashes.get(STATUS)).to_pylist():
        status = np.frombuffer(row["status"], np.uint8)
        start, stop = shard_bounds(status, shard, num_shards)
        name = row["source"]
        column = dropped["row"]
        here = pc.and_(
            pc.equal(dropped["source"], name), pc.and_(pc.greater_equal(column, start), pc.less(column, stop))
        )
        drops, seen = {row["row"]: _reject(row) for row in dropped.filter(here).to_pylist()}, row.get("seen")
        repeat = repeats.get(name, 1)
        found[name] = Selection(start, status[start:stop], drops, repeat, seen[shard] if seen else None)
    return found


class _Dropped(TypedDict):
    """A row of the table of dropped rows: why, and like which other row."""

    source: str
    source_id: str
    reason: str
    measure: str
    of_source: str
    of_id: str
    of_row: int
    bits: int | None
    similarity: float | None


def _reject(row: _Dropped) -> Reject:
    named = row["of_id"] or f"row {row['of_row']}"
    other = f"{row['of_source']} {named}"
    bits = f"{row['bits']} of 256 bits" if row["bits"] is not None else ""
    words = f"{row['similarity']:.2f} of its word triples" if row["similarity"] is not None else ""
    details = {
        "same": f"the same question and images as {other}",
        "near": f"the answer of {other}, an image like its, {bits} apart, and a question like its, {words}",
        "image": f"an image of {other}" + (f", but for {bits}" if row["bits"] else ""),
        "image_and_question": f"an image like one of {other}, {bits} apart, and a question like its, {words}",
        "question": f"the question of {other}, {words}",
    }
    return Reject(
        source=row["source"], source_id=row["source_id"], reason=row["reason"], detail=details[row["measure"]][:500]
    )
