"""`mmpr build --from-rollouts`: check and pair again what was sampled before, after a change of checker, rule or marks.

The rollouts are the expensive part of a dataset, so this needs no engine and no source: every question goes its usual
way, with an engine that answers from the finished dataset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from mmpr_pipeline.checking import checker_identity
from mmpr_pipeline.core.errors import ConfigError, DatasetError, ItemRejected
from mmpr_pipeline.core.progress import Stage
from mmpr_pipeline.core.records import SCHEMA_VERSION, Question, Reject, Rollout, content_id
from mmpr_pipeline.core.verdict import Outcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.lookup import StoredQuestion, stored_questions
from mmpr_pipeline.dataset.files.marks import read_marks
from mmpr_pipeline.dataset.files.sealed import BuildDescription, ComparedWith, SourceNote, read_config, read_summary
from mmpr_pipeline.dataset.files.summary import BuildSummary, PlanSummary, manifests_of, shards_of
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.pairing.strategy import Recipe
from mmpr_pipeline.pipeline.config import BuildConfig, load_config
from mmpr_pipeline.rollouts.prompts import aside_of
from mmpr_pipeline.storage import Store, open_store

CHANGEABLE = ("out", "seed", "pairing", "address", "workers", "in_flight")
Marks = Mapping[tuple[str, int], Outcome]
"""Verdicts set by hand, by question id and rollout index."""


@dataclass(frozen=True)
class RebuildPlan:
    """A plan whose questions and rollouts come from a finished dataset."""

    config: BuildConfig
    before: str
    """The finished dataset."""
    described: BuildDescription
    """Its config.json."""
    marks: Marks
    summary: BuildSummary
    """Its summary.json."""

    @property
    def identity(self) -> dict[str, object]:
        """What decides every byte of the shards."""
        marked = sorted([*key, outcome] for key, outcome in self.marks.items())
        return {
            "from": self.described["digest"],
            "seed": self.config.seed,
            "pairing": self.config.pairing.model_dump(mode="json"),
            "marks": content_id(json.dumps(marked)),
            "checker": checker_identity(),
            "schema_version": SCHEMA_VERSION,
        }

    @property
    def digest(self) -> str:
        """Content id of the identity."""
        return content_id(json.dumps(self.identity, sort_keys=True))

    @property
    def described_sources(self) -> list[SourceNote]:
        """What users must know of the sources: as the finished dataset says."""
        return self.described.get("sources", [])

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return int(self.summary["counts"]["questions"])

    @property
    def described_screening(self) -> ComparedWith | None:
        """As the finished dataset has it."""
        return self.described.get("screening")

    @property
    def notes(self) -> list[str]:
        """How many marks count."""
        number = len(self.marks)
        return [f"{number:,} mark{'' if number == 1 else 's'} counted ({layout.MARKS})"] if number else []

    samples = False
    screened = None
    """Its rows were screened before they were sampled."""

    def in_summary(self, store: Store) -> PlanSummary:
        """As the finished dataset has it."""
        told: PlanSummary = {}
        if "screening" in self.summary:
            told["screening"] = self.summary["screening"]
        if "warnings" in self.summary:
            told["warnings"] = self.summary["warnings"]
        return told

    def prepare(self, workers: int, notify: Stage, still_held: Callable[[], None]) -> RebuildPlan:
        """Nothing comes before the shards."""
        return self

    def with_config(self, config: BuildConfig) -> RebuildPlan:
        """The plan with other operational settings."""
        return replace(self, config=config)

    def recipe(self) -> Recipe:
        """The settings' rules, with the marks that people set."""
        return Recipe(self.config.sampling, self.config.pairing, self.config.seed, self.marks)

    def read(self, shard: int) -> Iterator[Question | Reject]:
        """The rows of one shard, in their order; those that were rejected before stay so."""
        for stored in self._stored(shard):
            row = stored.row
            if row.status == "rejected":
                reason = row.reason or "unknown"
                yield Reject(source=row.source, source_id=row.source_id, reason=reason, detail=row.detail)
            else:
                yield stored.question()

    async def start(self) -> None:
        """No engine is needed."""

    def engine_for(self, shard: int, engine: Engine | None) -> StoredEngine:
        """An engine that has the answers of one shard."""
        return StoredEngine(self._stored(shard))

    def _stored(self, shard: int) -> Iterator[StoredQuestion]:
        return stored_questions(open_store(self.before, known=True), shard, self.config.shards)


class StoredEngine:
    """Answers with what was sampled before. Questions are asked in about the order in which they are stored, so only
    those between the last one read and the last one answered are held."""

    can_continue = True
    resumed_rollouts = 0

    def __init__(self, stored: Iterator[StoredQuestion]) -> None:
        self._stored = stored
        self._held: dict[str, tuple[Rollout, ...]] = {}
        self._continued: dict[tuple[str, int], Rollout] = {}
        self._beside: dict[tuple[str, str], list[Rollout]] = {}
        self.info = EngineInfo(engine="stored", model="stored", context=None, can_continue=True, recorded=True)

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """All rollouts of the question, in one go; of those beside them, the ones of this purpose and beginning."""
        if aside_of(request.prompt_version):
            kept = self._beside.get((request.question.question_id, request.prompt_version), [])
            found = [r for r in kept if r.prefix_chars == len(request.prefix) and r.text.startswith(request.prefix)]
            if not found:
                raise ItemRejected("not_sampled_before", request.prompt_version)
            chosen = found[: request.n]
            for rollout in chosen:  # responses may begin alike: each has completions of its own
                kept.remove(rollout)
            return [r.model_copy(update={"index": request.first_index + i}) for i, r in enumerate(chosen)]
        if request.round:
            return []
        while request.question.question_id not in self._held:
            stored = next(self._stored, None)
            if stored is None:
                raise DatasetError(f"The rollouts of question {request.question.question_id} are missing.")
            if stored.row.question_id and stored.row.status != "rejected":
                self._held[stored.row.question_id] = stored.rollouts
        rollouts = self._held.pop(request.question.question_id)
        for rollout in rollouts:
            if aside_of(rollout.prompt_version):
                self._beside.setdefault((rollout.question_id, rollout.prompt_version), []).append(rollout)
            elif rollout.parent is not None:
                self._continued[rollout.question_id, rollout.parent] = rollout
        return [rollout for rollout in rollouts if rollout.parent is None]

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """The stored continuation of this parent; raises ItemRejected where it was never continued."""
        known = self._continued.pop((request.parent.question_id, request.parent.index), None)
        if known is None:
            raise ItemRejected("not_continued_before", f"rollout {request.parent.index}")
        return known.model_copy(update={"index": request.index})

    async def stats(self) -> EngineStats:
        """Nothing is made."""
        return EngineStats()

    def forget(self) -> None:
        """Nothing is journalled."""

    async def close(self) -> None:
        """Nothing is held open."""


def make_rebuild_plan(before: str, overrides: Mapping[str, object]) -> RebuildPlan:
    """The plan to check and pair a finished dataset again. `overrides`: settings by dotted name; None: as it was.

    Raises ConfigError where one of them decides what was sampled, DatasetError where the dataset is not
    finished.
    """
    fixed = [name for name, value in overrides.items() if value is not None and name.split(".")[0] not in CHANGEABLE]
    if fixed:
        raise ConfigError(
            f"{', '.join(fixed)} cannot change with --from-rollouts: it decided what was sampled.",
            remedy=f"Only {', '.join(CHANGEABLE)} can; or sample again without --from-rollouts.",
        )
    store = open_store(before)
    if not store.exists(layout.SUMMARY):
        raise DatasetError(
            f"{before} is not a finished dataset.", remedy="Finish it first, with the command that began it."
        )
    list(manifests_of(store, shards_of(store)))  # each of them is there, and one
    described = read_config(store)
    if open_store(str(overrides.get("out") or described["config"]["out"])).url == store.url:
        raise ConfigError("--from-rollouts needs a separate output.", remedy="Give --out a new directory.")
    settings = {**described["config"], "address": "local", "workers": None}
    config = load_config(None, {**settings, **{name: value for name, value in overrides.items() if value is not None}})
    # An ignored rollout is one that no verdict can be given on: it is in no pair.
    marks: dict[tuple[str, int], Outcome] = {
        key: "unparseable" if mark == "ignore" else mark for key, mark in read_marks(store).items()
    }
    return RebuildPlan(config, store.url, described, marks, read_summary(store))
