"""What a shard keeps of each question, read back in order: its row, its images, its rollouts. Memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import Image, Prompting, Question, QuestionRow, Rollout
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, sound_file
from mmpr_pipeline.dataset.files.lookup import ShardImages
from mmpr_pipeline.dataset.files.manifest import read_manifest
from mmpr_pipeline.rollouts.prompts import asked_label
from mmpr_pipeline.storage import Store


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
    name = layout.manifest(shard, num_shards)
    hashes = read_manifest(store.read(name), name).hashes
    keys = {kind: layout.data(kind, shard, num_shards) for kind in ("questions", "rollouts", "images")}
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
            raise DatasetError(f"{layout.data('rollouts', shard, num_shards)} lacks the rollouts of {row.source_id}.")
        yield StoredQuestion(row, tuple(images[sha256] for sha256 in row.images), rollouts)


def _rows(path: Path) -> Iterator[dict[str, object]]:
    for batch in record_batches(path):
        yield from batch.to_pylist()
