"""The plan of a build: which rows go to which shard, and what the output's identity is. Pure, but for reading indexes.

Shard i of N takes rows [n*i//N, n*(i+1)//N) of every source of n rows, so every shard holds the same mixture and a
worker reads only its slices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmpr_pipeline.build.journaled import JournaledEngine
from mmpr_pipeline.build.judge import Recipe
from mmpr_pipeline.checking import CHECKER
from mmpr_pipeline.config import BuildConfig
from mmpr_pipeline.dataset import layout
from mmpr_pipeline.errors import ConfigError
from mmpr_pipeline.records import SCHEMA_VERSION, Question, Reject, content_id
from mmpr_pipeline.sampling.engine import Engine
from mmpr_pipeline.sampling.identity import engine_identity
from mmpr_pipeline.sampling.make import start_engines
from mmpr_pipeline.sources import Source, SourceIndex, open_source
from mmpr_pipeline.sources.catalog import expand
from mmpr_pipeline.storage import Journal, open_store


@dataclass(frozen=True)
class PlannedSource:
    """One source of the build: how to open it, and its index."""

    name: str
    path: str
    index: SourceIndex
    role: str
    licence: str
    homepage: str | None
    description: str
    instructions: tuple[str, ...] = ()
    """The source's own, in place of the templates'."""

    def described(self) -> dict[str, Any]:
        """What users of the dataset must know of its source."""
        return {
            "name": self.name,
            "rows": self.index.rows,
            "revision": self.index.revision,
            "role": self.role,
            "licence": self.licence,
            "homepage": self.homepage,
            "description": self.description,
            **({"instructions": list(self.instructions)} if self.instructions else {}),
        }

    def open(self, data_root: str | None) -> Source:
        """The source, in whichever process this is."""
        return open_source(self.path, data_root)


@dataclass(frozen=True)
class BuildPlan:
    """Everything a shard worker needs to know; small, whatever the sources' sizes."""

    config: BuildConfig
    sources: tuple[PlannedSource, ...]
    identity: dict[str, Any]

    @property
    def digest(self) -> str:
        """Content id of the identity; written into every manifest."""
        return content_id(json.dumps(self.identity, sort_keys=True))

    @property
    def rows(self) -> int:
        """Rows of all sources."""
        return sum(source.index.rows for source in self.sources)

    @property
    def described_sources(self) -> list[dict[str, Any]]:
        """What users of the dataset must know of its sources."""
        return [source.described() for source in self.sources]

    def recipe(self) -> Recipe:
        """How each question is worked on. Recorded rollouts cost nothing, so of them all are taken."""
        adaptive = self.config.sampling.adaptive and self.config.engine.name != "replay"
        sampling = self.config.sampling.model_copy(update={"adaptive": adaptive})
        return Recipe(sampling, self.config.pairing, self.config.seed)

    async def start(self) -> Engine:
        """Start the engines; raises EngineError where they cannot serve."""
        return await start_engines(self.config.engine)

    def answering(self, engine: Engine, shard: int) -> JournaledEngine:
        """The engine with the journal of one shard."""
        store = open_store(self.config.out, known=True)
        return JournaledEngine(engine, Journal(store, layout.journal(shard, self.config.shards)))

    def read(self, shard: int) -> Iterator[Question | Reject]:
        """The rows of one shard, in source order; one item for every row."""
        for planned in self.sources:
            source = planned.open(self.config.data_root)
            yield from source.read(planned.index, *shard_slice(planned.index.rows, shard, self.config.shards))


def shard_slice(rows: int, shard: int, of: int) -> tuple[int, int]:
    """The rows [start, stop) of a source of `rows` rows that shard number `shard` of `of` takes."""
    return rows * shard // of, rows * (shard + 1) // of


def make_plan(config: BuildConfig) -> BuildPlan:
    """Open and index every source. Raises SourceError or ConfigError before any work is done."""
    sources = []
    for path in expand(config.sources):
        source = open_source(path, config.data_root)
        told = source.declaration
        index = source.index(config.limit)
        sources.append(
            PlannedSource(
                source.name, path, index, told.role, told.licence, told.homepage, told.description, told.instructions()
            )
        )
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"Two sources have the name {', '.join(repeated)}.", remedy="Give each declaration a name of its own."
        )
    return BuildPlan(config, tuple(sources), _identity(config, sources))


def _identity(config: BuildConfig, sources: list[PlannedSource]) -> dict[str, Any]:
    """What decides every byte of the shards. Paths are replaced by what is behind them."""
    identity = config.identity()
    identity["engine"] = engine_identity(config.engine)
    identity["sources"] = {s.name: {"rows": s.index.rows, "content": s.index.fingerprint} for s in sources}
    return {**identity, "checker": CHECKER, "schema_version": SCHEMA_VERSION}
