"""Checks the rows of one shard against each other and against its manifest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.layout import Counts, Manifest, counted
from mmpr_pipeline.rollouts.prompts import UNDECIDED_VOTES, counted_as

Note = Callable[[str, str], None]
"""Takes the name of a problem and what was seen."""

MOST_OF_ONE_KIND = 5
"""Problems of one name listed for each shard; the rest is counted."""


@dataclass
class _Question:
    status: str
    source: str
    pairs: int
    rollouts: int
    images: tuple[str, ...]


@dataclass
class _Shard:
    """What must be remembered of a shard's rows until all of its files were seen."""

    questions: dict[str, _Question] = field(default_factory=dict)
    counts: dict[str, _Found] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    pair_ids: set[str] = field(default_factory=set)
    responses: dict[tuple[str, int], int] = field(default_factory=dict)
    """Hash of the text of each rollout that pairs use; texts themselves would not fit for one huge shard."""
    pairs_of: Counter[str] = field(default_factory=Counter)
    sampled_of: Counter[str] = field(default_factory=Counter)
    voted: set[str] = field(default_factory=set)
    """Questions whose responses voted."""

    def found(self, source: str) -> _Found:
        return self.counts.setdefault(source, _Found())


@dataclass
class _Found:
    """Counts of one source as its rows say them."""

    ints: Counter[str] = field(default_factory=Counter)
    unpaired: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    rollouts: Counter[str] = field(default_factory=Counter)
    beside_tokens: Counter[str] = field(default_factory=Counter)
    images: set[str] = field(default_factory=set)


def check_rows(paths: Mapping[str, Path], manifest: Manifest, note: Note) -> set[str]:
    """Check one shard's readable files of the right schemas.

    Returns the shard's pair ids. Raises DatasetError where a file's data cannot be read.
    """
    shard, limited = _Shard(), _Limited(note)
    _check_images(paths["images"], shard, limited)
    _check_questions(paths["questions"], shard, limited)
    path = paths["pairs"]
    columns = ["pair_id", "question_id", "source", "strategy", "images", "chosen", "rejected", "chosen_index"]
    for batch in record_batches(path, [*columns, "rejected_index"]):
        for row in batch.to_pylist():
            pair_id, name = row["pair_id"], row["question_id"]
            if pair_id in shard.pair_ids:
                limited("duplicate_pair", f"pair {pair_id} is there twice")
            shard.pair_ids.add(pair_id)
            shard.pairs_of[name] += 1
            if row["strategy"] == "vote":
                shard.voted.add(name)
            shard.found(row["source"]).pairs[row["strategy"]] += 1
            question = shard.questions.get(name)
            if question is None or question.status != "paired":
                limited(
                    "missing_question",
                    f"pair {pair_id} is of {name}, which is not a paired question here",
                )
            for image in set(row["images"]) - shard.images:
                limited("missing_image", f"image {image} of pair {pair_id} is not in the images file")
            for side in ("chosen", "rejected"):
                key = (name, row[f"{side}_index"])
                if shard.responses.setdefault(key, hash(row[side])) != hash(row[side]):
                    limited("bad_response", f"rollout {key[1]} of question {name} has two texts in pairs")
    _check_rollouts(paths["rollouts"], shard, limited)
    for question_id, question in shard.questions.items():
        if shard.pairs_of[question_id] != question.pairs or shard.sampled_of[question_id] != question.rollouts:
            limited("bad_counts", f"question {question_id} states other numbers of pairs or rollouts than are there")
    _check_counts(shard, manifest, limited)
    limited.close()
    return shard.pair_ids


class _Limited:
    """Notes the first few problems of each name, and how many more there are."""

    def __init__(self, note: Note) -> None:
        self._note, self._seen = note, Counter[str]()

    def __call__(self, name: str, detail: str) -> None:
        self._seen[name] += 1
        if self._seen[name] <= MOST_OF_ONE_KIND:
            self._note(name, detail)

    def close(self) -> None:
        for name, count in self._seen.items():
            if count > MOST_OF_ONE_KIND:
                self._note(name, f"and {count - MOST_OF_ONE_KIND:,} more like it")


def _check_images(path: Path, shard: _Shard, note: _Limited) -> None:
    for batch in record_batches(path, ["sha256", "data"]):
        names, data = batch.column("sha256"), batch.column("data")
        for name, value in zip(names.to_pylist(), data, strict=True):
            if name in shard.images:
                note("duplicate_image", f"image {name} is stored twice")
            shard.images.add(name)
            if hashlib.sha256(value.as_buffer()).hexdigest() != name:
                note("bad_image", f"image {name}: its bytes do not hash to its name")


def _check_questions(path: Path, shard: _Shard, note: _Limited) -> None:
    columns = ["source", "question_id", "status", "reason", "pairs", "rollouts", "images", "generated_tokens"]
    for batch in record_batches(path, columns):
        for row in batch.to_pylist():
            question_id, question = row["question_id"], _Question(**{k: row[k] for k in _QUESTION})
            for image in set(question.images) - shard.images:
                note("missing_image", f"image {image} of question {question_id} is not in the images file")
            if question_id is None:
                if question.pairs or question.rollouts or question.status != "rejected":
                    note("bad_counts", "a row without a question has pairs or rollouts")
            elif question_id not in shard.questions or shard.questions[question_id].status == "rejected":
                shard.questions[question_id] = question
            elif question.status != "rejected":  # a repeated row is rejected by name; another one must not be there
                note("duplicate_question", f"question {question_id} is there twice")
            if row["reason"] in UNDECIDED_VOTES:
                shard.voted.add(row["question_id"])
            found = shard.found(row["source"])
            found.ints.update(questions=1, generated_tokens=row["generated_tokens"], paired=row["status"] == "paired")
            if row["status"] in ("unpaired", "rejected"):
                getattr(found, row["status"])[row["reason"] or "unknown"] += 1
            found.images.update(row["images"])


_QUESTION = ("status", "source", "pairs", "rollouts", "images")


def _check_rollouts(path: Path, shard: _Shard, note: _Limited) -> None:
    columns = ["question_id", "source", "index", "parent", "outcome", "text", "prompt_version", "tokens"]
    last: tuple[str, int] | None = None
    for batch in record_batches(path, columns):
        keys = list(zip(batch.column("question_id").to_pylist(), batch.column("index").to_pylist(), strict=True))
        names = ("question_id", "source", "parent", "outcome", "prompt_version", "tokens")
        rows = list(zip(*(batch.column(name).to_pylist() for name in names), strict=True))
        for question_id, source, parent, _, label, tokens in rows:
            if name := counted_as(label) or ("vote" if parent is None and question_id in shard.voted else None):
                shard.found(source).beside_tokens[name] += tokens
        tally = Counter((q, s, counted(o, p, label), p is None) for q, s, p, o, label, _ in rows)
        for (question_id, source, outcome, sampled), count in tally.items():
            shard.found(source).rollouts[outcome] += count
            shard.sampled_of[question_id] += count if sampled else 0
        texts = batch.column("text")
        for position, key in enumerate(keys):
            if last is not None and last[0] == key[0] and key[1] <= last[1]:
                note("duplicate_rollout", f"rollout {key[1]} of question {key[0]} is there twice or out of order")
            last = key
            expected = shard.responses.pop(key, None)
            if expected is not None and hash(texts[position].as_py()) != expected:
                note("bad_response", f"rollout {key[1]} of question {key[0]} has another text than its pair")
    for question_id, index in shard.responses:
        note("missing_rollout", f"rollout {index} of question {question_id}, used in a pair, is missing")


def _check_counts(shard: _Shard, manifest: Manifest, note: _Limited) -> None:
    """The manifest's counts against those of the rows, by source and in all."""
    if "vote" not in manifest.counts.beside_tokens:  # by a version that did not count them
        for each in shard.counts.values():
            each.beside_tokens.pop("vote", None)
    found = {source: _as_counts(f) for source, f in shard.counts.items()}
    for source in sorted({*found, *manifest.sources}):
        stated = manifest.sources.get(source, Counts())
        for name in Counts.model_fields:
            if getattr(stated, name) != getattr(found.get(source, Counts()), name):
                note("bad_counts", f"{name} of {source} is not what the manifest says")
    whole = _Found()
    for each in shard.counts.values():
        for name in ("ints", *_GROUPS):
            getattr(whole, name).update(getattr(each, name))
    whole.images = shard.images
    totals = _as_counts(whole)
    for name in Counts.model_fields:
        if getattr(manifest.counts, name) != getattr(totals, name):
            note("bad_counts", f"{name} is not what the manifest says")


_GROUPS = ("unpaired", "rejected", "pairs", "rollouts", "beside_tokens")


def _as_counts(found: _Found) -> Counts:
    groups = {name: dict(getattr(found, name)) for name in _GROUPS}
    return Counts.model_validate({**found.ints, **groups, "images": len(found.images)})
