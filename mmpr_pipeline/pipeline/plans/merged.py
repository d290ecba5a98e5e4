"""`mmpr merge A B --out C`: several finished outputs as one, question by question, paired again from all rollouts.

A question of several outputs (one id: same source, images, text and choices) is written once, as the first of them has
it, with the rollouts of all: those of the second are numbered after those of the first. Each rollout keeps the model
and the prompt that it is of, so that a pair says where both of its responses come from. The shards are those of the
first output; what only the others have follows at the end of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches, sound_file
from mmpr_pipeline.dataset.files.lookup import StoredQuestion, stored_questions
from mmpr_pipeline.dataset.files.marks import read_marks
from mmpr_pipeline.dataset.files.sealed import BuildDescription, SourceNote, read_config
from mmpr_pipeline.dataset.files.summary import MergedOutput, PlanSummary, manifests_of, shards_of
from mmpr_pipeline.pipeline.plans.from_rollouts import RebuildPlan, make_rebuild_plan
from mmpr_pipeline.storage import Store, open_store


@dataclass(frozen=True)
class MergePlan(RebuildPlan):
    """A plan whose questions and rollouts come from several finished outputs; `before` is the first of them."""

    others: tuple[str, ...] = ()
    """The other outputs, in order."""
    descriptions: tuple[BuildDescription, ...] = field(default=())
    """Their config.json."""
    questions: int = 0
    """Questions of all outputs; those that several have counted as often."""

    @property
    def identity(self) -> dict[str, object]:
        """What decides every byte of the shards."""
        digests = [self.described["digest"], *(each["digest"] for each in self.descriptions)]
        return {**super().identity, "from": digests}

    @property
    def described_sources(self) -> list[SourceNote]:
        """The sources of all outputs, each once."""
        every = [super().described_sources, *(each.get("sources", []) for each in self.descriptions)]
        notes: dict[str, SourceNote] = {}
        for note in (note for sources in (*reversed(every[1:]), every[0]) for note in sources):
            known = notes.get(note["name"], note)
            notes[note["name"]] = merged = note.copy()
            # Its questions are of all outputs: so are the most tiles that they ask for, and what they were asked with.
            if most := max(note.get("tiles", 0), known.get("tiles", 0)):
                merged["tiles"] = most
            if asked := dict.fromkeys([*note.get("instructions", []), *known.get("instructions", [])]):
                merged["instructions"] = list(asked)
        return list(notes.values())

    @property
    def rows(self) -> int:
        """Rows of all shards, at most."""
        return self.questions

    def in_summary(self, store: Store) -> PlanSummary:
        """As the first output has it, and what was merged."""
        every = (self.described, *self.descriptions)
        names: list[MergedOutput] = [
            {"digest": each["digest"], "model": str(group_of(each["config"], "engine")["model"])} for each in every
        ]
        return {**super().in_summary(store), "merged": names}

    def _stored(self, shard: int) -> Iterator[StoredQuestion]:
        urls = (self.before, *self.others)
        own = list(stored_questions(open_store(self.before, known=True), shard, self.config.shards))
        asked = {stored.row.question_id for stored in own if stored.row.question_id}
        further = [_rollouts_of(url, asked) for url in self.others]
        for stored in own:
            found = [each[stored.row.question_id] for each in further if stored.row.question_id in each]
            yield joined_question([stored, *found])
        for at, url in enumerate(self.others, 1):
            yield from self._only_in(url, urls[:at], urls[at + 1 :], shard)

    def _only_in(self, url: str, earlier: Sequence[str], later: Sequence[str], shard: int) -> Iterator[StoredQuestion]:
        """Questions that no earlier output has, from those shards of an output that fall to this one."""
        store = open_store(url, known=True)
        num_shards = shards_of(store)
        for number in (n for n in range(num_shards) if n * self.config.shards // num_shards == shard):
            new = [
                stored
                for stored in stored_questions(store, number, num_shards)
                if not any(_shards_with(one, [stored.row.question_id or ""]) for one in earlier)
            ]
            asked = {stored.row.question_id for stored in new if stored.row.question_id}
            further = [_rollouts_of(one, asked) for one in later]
            for stored in new:
                yield joined_question(
                    [stored, *(e[stored.row.question_id] for e in further if stored.row.question_id in e)]
                )


def joined_question(found: Sequence[StoredQuestion]) -> StoredQuestion:
    """One question of several outputs: the first that could be used, with the rollouts of all of them."""
    usable = [stored for stored in found if stored.row.status != "rejected"]
    if len(usable) < 2:
        return usable[0] if usable else found[0]
    rollouts: list[Rollout] = []
    for stored in usable:
        first = 1 + max((rollout.index for rollout in rollouts), default=-1)
        for rollout in stored.rollouts:
            parent = rollout.parent if rollout.parent is None or rollout.parent < 0 else rollout.parent + first
            rollouts.append(rollout.model_copy(update={"index": rollout.index + first, "parent": parent}))
    return replace(usable[0], rollouts=tuple(rollouts))


def _rollouts_of(url: str, asked: set[str]) -> dict[str | None, StoredQuestion]:
    """What an output holds of these questions, from those of its shards that have any."""
    store = open_store(url, known=True)
    num_shards = shards_of(store)
    return {
        stored.row.question_id: stored
        for shard in _shards_with(url, [name for name in asked if name])
        for stored in stored_questions(store, shard, num_shards)
        if stored.row.question_id in asked and stored.row.status != "rejected"
    }


def _shards_with(url: str, names: Sequence[str]) -> list[int]:
    """The shards of an output that hold any of these questions."""
    known, shards = _places(url)
    wanted = np.array([_number(name) for name in names if name], np.uint64)
    at = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    return sorted(set(shards[at[known[at] == wanted]].tolist())) if len(known) else []


@lru_cache(maxsize=8)
def _places(url: str) -> tuple[np.ndarray, np.ndarray]:
    """The first 64 bits of the id of every question of an output, ascending, and the shard of each: 12 bytes each."""
    store = open_store(url, known=True)
    num_shards = shards_of(store)
    numbers: list[int] = []
    shards: list[int] = []
    for manifest in manifests_of(store, num_shards):
        key = layout.shard_key("questions", manifest.shard, num_shards)
        for batch in record_batches(sound_file(store, key, manifest.hashes[key]), ["question_id"]):
            found = [_number(name) for name in batch["question_id"].to_pylist() if name]
            numbers += found
            shards += [manifest.shard] * len(found)
    known = np.array(numbers, np.uint64)
    order = np.argsort(known, kind="stable")
    return known[order], np.array(shards, np.int32)[order]


def _number(question_id: str) -> int:
    return int(question_id[:16], 16)


def make_merge(outputs: Sequence[str], overrides: Mapping[str, object]) -> MergePlan:
    """The plan to merge finished outputs, with `overrides` as `make_rebuild_plan` takes them.

    Raises ConfigError where there are fewer than two, one stands twice, or people marked rollouts of another than the
    first; DatasetError where one is not finished.
    """
    urls = [open_store(output).url for output in outputs]
    if len(urls) < 2 or len(set(urls)) < len(urls):
        raise ConfigError("There is nothing to merge.", remedy="Name two or more different outputs.")
    first, *others = [make_rebuild_plan(output, overrides) for output in outputs]
    for plan, url in zip(others, urls[1:], strict=True):
        if read_marks(open_store(url)):
            raise ConfigError(
                f"{plan.before} has marks of people, which name rollouts by numbers that a merge changes.",
                remedy="Name this output first.",
            )
    return MergePlan(
        config=first.config,
        before=first.before,
        described=first.described,
        marks=first.marks,
        summary=first.summary,
        others=tuple(plan.before for plan in others),
        descriptions=tuple(read_config(open_store(url)) for url in urls[1:]),
        questions=sum(plan.rows for plan in (first, *others)),
    )
