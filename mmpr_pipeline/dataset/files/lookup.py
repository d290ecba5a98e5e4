"""Any row of one shard without reading the shard, and its questions in order with all that was kept of each.

Arrow files are memory-mapped, and indexed by question on first use. An index holds one entry a question; what is shown
is read batch by batch (at most 2,048 rows) when it is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import Image, Prompting, Question, QuestionRow, Rollout
from mmpr_pipeline.core.schemas import IMAGE_SCHEMA, PairFields, QuestionFields, RolloutFields
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import open_table, record_batches, runs_of, sound_file
from mmpr_pipeline.dataset.files.layout import read_manifest
from mmpr_pipeline.rollouts.prompts import asked_label
from mmpr_pipeline.storage import Store

Run = tuple[int, int, int]
"""Rows side by side: number of the record batch, first row in it, number of rows."""


class ShardImages:
    """Images of one shard by sha256; their bytes stay in the memory-mapped file until they are asked for.

    Raises DatasetError where the file is not readable, and KeyError for an image that it does not hold.
    """

    def __init__(self, path: Path) -> None:
        self._table: pa.Table = open_table(path, IMAGE_SCHEMA.names)
        names = self._table.column("sha256").to_pylist()
        self.rows: Mapping[str, int] = {name: row for row, name in enumerate(names)}
        """Row of each image by its sha256."""

    def __contains__(self, sha256: object) -> bool:
        return sha256 in self.rows

    def __getitem__(self, sha256: str) -> Image:
        return Image.model_validate(self._table.slice(self.rows[sha256], 1).to_pylist()[0])

    def data(self, sha256: str) -> pa.Buffer:
        """The encoded image, in place in its file."""
        return self._table.column("data")[self.rows[sha256]].as_buffer()

    def format(self, sha256: str) -> str:
        """Format of an image, as `png`."""
        return str(self._table.column("format")[self.rows[sha256]].as_py())

    def size(self, sha256: str) -> tuple[int, int]:
        """Width and height of an image, in pixels."""
        width, height = (self._table.column(side)[self.rows[sha256]].as_py() for side in ("width", "height"))
        return width, height


class ShardFiles:
    """The rows of a finished shard. Every method raises DatasetError where a file is not readable."""

    def __init__(self, store: Store, shard: int, num_shards: int) -> None:
        self._store, self.shard, self._of = store, shard, num_shards

    @cached_property
    def questions(self) -> pa.Table:
        """The questions file, in the shard's order."""
        return open_table(self.path("questions"), layout.SCHEMAS["questions"].names)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each question in the questions file, by id; the first, where the source repeats a question."""
        ids = self.questions.column("question_id").to_pylist()
        return {name: row for row, name in reversed(list(enumerate(ids))) if name is not None}

    def question(self, row: int) -> QuestionFields:
        """One row of the questions file. Raises IndexError where there is no such row."""
        if not 0 <= row < self.questions.num_rows:
            raise IndexError(row)
        return cast(QuestionFields, self.questions.slice(row, 1).to_pylist()[0])

    def pairs(self, question_id: str) -> list[PairFields]:
        """Pairs of a question."""
        runs = self._pair_runs.get(question_id, [])
        return [cast(PairFields, row) for row in self._rows("pairs", runs)]

    def rollouts(self, question_id: str) -> list[RolloutFields]:
        """Rollouts of a question with their verdicts, continuations last."""
        runs = self._rollout_runs.get(question_id, [])
        return [cast(RolloutFields, row) for row in self._rows("rollouts", runs)]

    def image(self, sha256: str) -> tuple[str, bytes] | None:
        """Format and bytes of an image; None where the shard does not hold it."""
        images = self._images
        return (images.format(sha256), images.data(sha256).to_pybytes()) if sha256 in images else None

    def size(self, sha256: str) -> tuple[int, int] | None:
        """Width and height of an image, in pixels."""
        return self._images.size(sha256) if sha256 in self._images else None

    def questions_that_say(self, text: str) -> set[str]:
        """Ids of the questions of which a response contains `text`, in capitals or not."""
        path = self.path("rollouts")
        said = [pc.match_substring(b["text"], text, ignore_case=True) for b in record_batches(path, ["text"])]
        if not any(rows.true_count for rows in said):  # most shards: their ids are not even decompressed
            return set()
        ids = record_batches(path, ["question_id"])
        return {name for rows, batch in zip(said, ids, strict=True) for name in batch[0].filter(rows).to_pylist()}

    def question_of_pair(self, pair_id: str) -> str | None:
        """Id of the question that a pair answers."""
        for batch in record_batches(self.path("pairs"), ["pair_id", "question_id"]):
            row = pc.index(batch["pair_id"], pair_id).as_py()
            if row >= 0:
                found: str | None = batch["question_id"][row].as_py()
                return found
        return None

    @cached_property
    def _pair_runs(self) -> dict[str, list[Run]]:
        return _runs(self.path("pairs"))

    @cached_property
    def _rollout_runs(self) -> dict[str, list[Run]]:
        return _runs(self.path("rollouts"))

    @cached_property
    def _images(self) -> ShardImages:
        return ShardImages(self.path("images"))

    def _rows(self, kind: str, runs: list[Run]) -> list[object]:
        rows: list[object] = []
        for number, start, count in runs:
            rows += _batch(self.path(kind), number).slice(start, count).to_pylist()
        return rows

    def path(self, kind: str) -> Path:
        """The file of one kind, on this machine."""
        return self._store.local_copy(layout.shard_key(kind, self.shard, self._of))


def _runs(path: Path) -> dict[str, list[Run]]:
    """Where the rows of each question lie."""
    found: dict[str, list[Run]] = defaultdict(list)
    for number, batch in enumerate(record_batches(path, ["question_id"])):
        for name, start, end in runs_of(batch.column(0)):
            found[name].append((number, start, end - start))
    return dict(found)


def _batch(path: Path, number: int) -> pa.RecordBatch:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(number)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path.name} is not a readable Arrow file: {error}") from None


@dataclass(frozen=True)
class StoredQuestion:
    """One row of the questions file with all that belongs to it."""

    row: QuestionRow
    images: tuple[Image, ...]
    rollouts: tuple[Rollout, ...]
    """Sampled ones and continuations, without their verdicts."""

    def question(self) -> Question:
        """The question as it was asked, in the very words. Only for rows that became a question."""
        kept = Question.model_fields.keys() & QuestionRow.model_fields.keys() - {"images"}
        fields = {name: getattr(self.row, name) for name in kept}
        label = asked_label(self.rollouts[0].prompt_version) if self.rollouts else ""
        return Question(**fields, images=self.images, prompting=Prompting(turn=self.row.prompt, label=label))


def stored_questions(store: Store, shard: int, num_shards: int) -> Iterator[StoredQuestion]:
    """Every row of a finished shard, in order. Raises DatasetError where its files contradict each other."""
    name = layout.shard_key("manifest", shard, num_shards)
    hashes = read_manifest(store.read(name), name).hashes
    keys = {kind: layout.shard_key(kind, shard, num_shards) for kind in ("questions", "rollouts", "images")}
    paths = {kind: sound_file(store, key, hashes[key]) for kind, key in keys.items()}
    images = ShardImages(paths["images"])
    groups = groupby(_rows(paths["rollouts"]), key=lambda row: row["question_id"])
    ahead = next(groups, None)
    for fields in _rows(paths["questions"]):
        row = QuestionRow.model_validate(fields)
        rollouts: tuple[Rollout, ...] = ()
        if ahead is not None and row.status != "rejected" and ahead[0] == row.question_id:
            rollouts = tuple(
                Rollout.model_validate({name: kept[name] for name in Rollout.model_fields}) for kept in ahead[1]
            )
            ahead = next(groups, None)
        if row.rollouts and not rollouts:
            raise DatasetError(
                f"{layout.shard_key('rollouts', shard, num_shards)} lacks the rollouts of {row.source_id}."
            )
        yield StoredQuestion(row, tuple(images[sha256] for sha256 in row.images), rollouts)


def _rows(path: Path) -> Iterator[dict[str, object]]:
    for batch in record_batches(path):
        yield from batch.to_pylist()
