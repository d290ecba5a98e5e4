"""The plan of a build from sources: which rows go to which shard, and what the output's identity is.

Shard i of N takes the i-th 1/N of the questions of every source, in rows that follow each other, so every shard holds
the same mixture and a worker reads only its slices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mmpr_pipeline.checking import checker_identity
from mmpr_pipeline.checking.second_opinion import VERSION
from mmpr_pipeline.core.progress import Stage
from mmpr_pipeline.core.records import SCHEMA_VERSION, Question, Reject, content_id
from mmpr_pipeline.core.registry import plugins_of
from mmpr_pipeline.core.settings import group_of, identity_of
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.sealed import ComparedWith, SourceNote, read_screening
from mmpr_pipeline.dataset.files.summary import PlanSummary
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.engines.journalled import JournalledEngine
from mmpr_pipeline.engines.recorded import PresetEngine
from mmpr_pipeline.engines.registry import engine_identity, make_engine
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.models.resolve import HubAwayError
from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.plans.base import ResumableEngine
from mmpr_pipeline.pipeline.plans.evaluation_sets import NO_COMPARISON, EvaluationSets, resolve_evaluation_sets
from mmpr_pipeline.pipeline.plans.sources import ResolvedSource, require_columns, resolve_sources
from mmpr_pipeline.pipeline.second_opinion import JournalledWithVerifier
from mmpr_pipeline.rollouts.prompts import with_own_prompt
from mmpr_pipeline.screening import REPORT, SCREENING
from mmpr_pipeline.screening.mixture import ALL, share_fields
from mmpr_pipeline.screening.report import ScreeningReport
from mmpr_pipeline.screening.selection import Selection, load_selections
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.declaration.catalog import SOURCES, evaluation_warnings
from mmpr_pipeline.storage import Journal, Store, open_store


@dataclass(frozen=True)
class BuildPlan:
    """Everything a shard worker needs to know; small, whatever the sources' sizes."""

    config: BuildConfig
    sources: tuple[ResolvedSource, ...]
    identity: dict[str, object]
    against: EvaluationSets = NO_COMPARISON
    screened: ScreeningReport | None = None
    """The report of the screening, once it has decided on the rows; until then a worker takes them all."""

    @property
    def digest(self) -> str:
        """Content id of the identity; written into every manifest."""
        return content_id(json.dumps(self.identity, sort_keys=True))

    @property
    def rows(self) -> int:
        """Questions of all sources, those that turn out to be unusable included; before screening an upper bound."""
        if self.screened is not None:
            return sum(counts["questions"] for counts in self.screened["sources"].values())
        return sum(source.questions for source in self.sources)

    @property
    def screens(self) -> bool:
        """Whether the rows must be looked at once before sampling. Within one shard repeated questions are found
        anyhow."""
        several = len(self.sources) > 1 or self.config.shards > 1
        shared = any(source.share != ALL for source in self.sources)
        rules = self.config.screening
        return (rules.dedup and several) or rules.near_duplicates or bool(self.against) or shared

    @property
    def described_sources(self) -> list[SourceNote]:
        """What users of the dataset must know of its sources."""
        return [source.described() for source in self.sources]

    @property
    def described_screening(self) -> ComparedWith | None:
        """What stands in config.json of the evaluation sources: how each was opened, and which were not to be had."""
        opened = {source.name: source.path for source in self.against.sources}
        return {"against": opened, "unchecked": dict(self.against.unchecked)}

    def in_summary(self, store: Store) -> PlanSummary:
        """The screening's report, and warnings about the sources."""
        told: PlanSummary = {"warnings": evaluation_warnings(self.described_sources)}
        if store.exists(REPORT):
            report = read_screening(store)
            report.pop("plan", None)
            report.pop("hashes", None)
            told["screening"] = report
        return told

    @property
    def notes(self) -> list[str]:
        """Nothing else."""
        return []

    @property
    def samples(self) -> bool:
        """Whether engines are needed."""
        return not self.config.preset

    def prepare(self, workers: int, notify: Stage, still_held: Callable[[], None]) -> BuildPlan:
        """Screen the rows of the sources, where that was not done before."""
        from mmpr_pipeline.pipeline.plans.screening_pass import chunks_on_ray, screen

        look = partial(chunks_on_ray, workers=workers, notify=notify, still_held=still_held)
        return replace(self, screened=screen(self, notify, look))

    def with_config(self, config: BuildConfig) -> BuildPlan:
        """The plan with other operational settings."""
        return replace(self, config=config)

    def recipe(self) -> Recipe:
        """How each question is worked on."""
        second = self.config.checking.second
        return Recipe(self.config.sampling, self.config.pairing, self.config.seed, second=second)

    async def start(self) -> Engine | None:
        """Start the engines; None where the sources bring the pairs. Raises EngineError where they cannot serve."""
        if self.config.preset:
            return None
        return await start_engines(self.config.engine, (source.tiles for source in self.sources))

    def engine_for(self, shard: int, engine: Engine | None) -> ResumableEngine:
        """The engine with the journal of the shard, or one that answers with the sources' own responses."""
        if engine is None:
            return PresetEngine()
        prefix, done = (layout.shard_key(kind, shard, self.config.shards) for kind in ("journal", "manifest"))
        journal = Journal(open_store(self.config.out, known=True), prefix, self.digest, done)
        second = self.config.checking.second
        if second is not None and second.base_url:
            served = EngineSettings(name="openai", model=second.model or "", base_url=second.base_url)
            return JournalledWithVerifier(engine, make_engine(served), journal)
        return JournalledEngine(engine, journal)

    def read(self, shard: int) -> Iterator[Question | Reject]:
        """The rows of one shard, in source order; one item for every row."""
        num_shards = self.config.shards
        chosen: dict[str, Selection] = {}
        if self.screened is not None:
            repeats = {planned.name: planned.share.repeat for planned in self.sources}
            hashes = self.screened.get("hashes", {})
            chosen = load_selections(open_store(self.config.out), shard, num_shards, repeats, hashes)
        for planned in self.sources:
            source = open_source(planned.path, self.config.data_root)
            if planned.name in chosen:
                rows = chosen[planned.name].read(source, planned.index)
            else:
                start, stop = (planned.index.rows * number // num_shards for number in (shard, shard + 1))
                rows = source.read(planned.index, start, stop)
            for row in rows:
                yield with_own_prompt(row) if self.config.preset and isinstance(row, Question) else row


def make_build_plan(
    config: BuildConfig, begun: Mapping[str, Any] | None = None, *, only_shown: bool = False
) -> BuildPlan:
    """Open and index every source. Raises SourceError, ConfigError or EngineError before any work is done.

    `begun`: the config.json of the output, where it was begun before. `only_shown`: the plan is not carried out, and
    is made though the Hub cannot be asked for the model.
    """
    sources = resolve_sources(config, begun)
    if not begun:
        for source in sources:
            require_columns(source, config.data_root)
    compared = any(source.compared for source in sources)
    against = resolve_evaluation_sets(config, sources, begun) if compared else NO_COMPARISON
    # What decides every byte of the shards. Paths are replaced by what is behind them.
    identity = config.identity()
    try:
        identity["engine"] = None if config.preset else engine_identity(config.engine)
    except HubAwayError:
        if not only_shown:
            raise
    identity["sources"] = {source.name: source.content for source in sources}
    identity["mixture"] = {source.name: share_fields(source.share) for source in sources if source.share != ALL}
    screening = {**identity_of(config.screening), "version": SCREENING, "against": dict(against.content)}
    screening["decontaminate"] = config.screening.decontaminate != "none"  # which ones says `against`
    if not config.screening.near_duplicates:  # as it was before they could be looked for
        screening = {k: v for k, v in screening.items() if not k.startswith("near_")}
    identity["screening"] = screening
    foreign = [source.path for source in sources if source.path in SOURCES.names()]
    strategies = STRATEGIES.origins(config.pairing.strategies)
    identity |= plugins_of(strategies=strategies, sources=SOURCES.origins(foreign))
    second = config.checking.second
    if second is not None:
        checking = group_of(identity, "checking")
        asked = {**group_of(checking, "second"), "prompt": VERSION[second.style]}
        identity["checking"] = {**checking, "second": asked}
    return BuildPlan(
        config, sources, {**identity, "checker": checker_identity(), "schema_version": SCHEMA_VERSION}, against
    )
