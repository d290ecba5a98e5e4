"""What every plan of a build offers, whether its questions come from sources or from a finished output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from mmpr_pipeline.core.progress import Stage
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.dataset.files.sealed import ComparedWith, SourceNote
from mmpr_pipeline.dataset.files.summary import PlanSummary
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.strategy import Recipe
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.screening.report import ScreeningReport
from mmpr_pipeline.storage import Store


class ResumableEngine(Engine, Protocol):
    """The engine of one shard: it may know answers of an earlier attempt."""

    @property
    def resumed_rollouts(self) -> int:
        """Rollouts that came from an earlier attempt."""
        ...

    def forget(self) -> None:
        """Drop what was kept for another attempt: the shard is finished."""
        ...


class Plan(Protocol):
    """Everything that the driver and a shard worker need to know; small, and picklable."""

    @property
    def config(self) -> BuildConfig:
        """The settings, with absolute paths."""
        ...

    @property
    def identity(self) -> dict[str, object]:
        """What decides every byte of the shards."""
        ...

    @property
    def digest(self) -> str:
        """Content id of the identity; written into every manifest."""
        ...

    @property
    def rows(self) -> int:
        """Rows of all shards; before screening an upper bound."""
        ...

    @property
    def samples(self) -> bool:
        """Whether engines are needed."""
        ...

    @property
    def screened(self) -> ScreeningReport | None:
        """The report of the screening pass, where this plan has one."""
        ...

    @property
    def notes(self) -> list[str]:
        """What else a user must know before the shards are worked on, a line each."""
        ...

    @property
    def described_sources(self) -> list[SourceNote]:
        """What users of the output must know of its sources; written into config.json."""
        ...

    @property
    def described_screening(self) -> ComparedWith | None:
        """What config.json says of the evaluation sets that the sources are compared with; None: nothing."""
        ...

    def in_summary(self, store: Store) -> PlanSummary:
        """What summary.json says of the screening and the sources."""
        ...

    def prepare(self, workers: int, notify: Stage, still_held: Callable[[], None]) -> Plan:
        """Do what must be done on the cluster before the shards; returns the plan to carry out."""
        ...

    def with_config(self, config: BuildConfig) -> Plan:
        """The plan with other operational settings."""
        ...

    def recipe(self) -> Recipe:
        """How each question is worked on."""
        ...

    def read(self, shard: int) -> Iterator[Question | Reject]:
        """The rows of one shard, in source order; one item for every row."""
        ...

    async def start(self) -> Engine | None:
        """Start the engines, where questions are sampled; raises EngineError where they cannot serve."""
        ...

    def engine_for(self, shard: int, engine: Engine | None) -> ResumableEngine:
        """The engine that answers the questions of one shard; `engine` is what `start` returned."""
        ...
