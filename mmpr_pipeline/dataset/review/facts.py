"""What there is to tell of a finished dataset to those who get it: its figures, its sources, and what made it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.marks import read_all
from mmpr_pipeline.dataset.files.sealed import BuildDescription, SourceNote, is_rehearsal, read_config, read_summary
from mmpr_pipeline.dataset.files.summary import finished_shards, shards_of
from mmpr_pipeline.dataset.review.beside import beside_sentences, without_pairs
from mmpr_pipeline.dataset.review.marks_summary import MarksSummary, marks_summary
from mmpr_pipeline.dataset.review.stats import DatasetStats, stats
from mmpr_pipeline.models.resolve import REHEARSAL_WARNING
from mmpr_pipeline.screening.report import ScreeningReport, unchecked
from mmpr_pipeline.sources.declaration.catalog import warnings_of
from mmpr_pipeline.storage import MissingKeyError, Store, open_store

TOLD = ("model", "rejected_model", "prompt_version", "checker", "language", "kind")
"""Columns of the pairs whose values are counted."""


@dataclass(frozen=True)
class Characters:
    """Lengths of the responses of some pairs: the mean of each side, and the share of pairs whose chosen is longer."""

    chosen: float
    rejected: float
    chosen_longer: float


@dataclass(frozen=True)
class Facts:
    """Plain data: `figures` as `stats` gives them; `sources` with name, role, licence, homepage and description;
    `identity`, the settings that decided what is in the shards; `made_by`, pairs by the values of each column of TOLD;
    `characters`, lengths by source and strategy, which are known where tokens are not.
    """

    figures: DatasetStats
    sources: list[SourceNote]
    identity: dict[str, object]
    mmpr_version: str
    made_by: dict[str, dict[str, int]]
    characters: dict[tuple[str, str], Characters]
    screening: ScreeningReport | None = None
    """What was dropped before sampling, as summary.json tells it; None where nothing was compared."""
    rehearsal: bool = False
    """Whether the embedded toy model stood in for a real one."""
    marks: MarksSummary | None = None
    """What people marked, as `marks_summary` gives it."""

    @property
    def pairs(self) -> int:
        """Pairs in all."""
        return sum(self.figures["counts"]["pairs"].values())

    @property
    def preset(self) -> bool:
        """Whether the sources brought all pairs, so that nothing was sampled."""
        return bool(self.figures["counts"]["pairs"].keys() == {"preset"})

    @property
    def beside(self) -> list[str]:
        """What was sampled beside the questions, and which strategies made no pair, in sentences."""
        strategies = cast("list[str]", group_of(self.identity, "pairing").get("strategies", ()))
        counts = self.figures["counts"]
        return [*beside_sentences(counts), *without_pairs(strategies, counts["pairs"])]

    @property
    def warnings(self) -> list[str]:
        """Why the dataset may not be passed on or trained on just so."""
        missed = unchecked(self.screening) if self.screening else None
        rehearsed = [REHEARSAL_WARNING] if self.rehearsal else []
        return [*rehearsed, *warnings_of(self.sources), *([missed] if missed else [])]


def facts_of(out: str | Path, progress: Callable[[int, int], None] | None = None) -> Facts:
    """Read the finished shards one by one. Raises DatasetError where none is finished."""
    store = open_store(out)
    shards = shards_of(store)
    figures = stats(out, progress)
    config = _config(store)
    # `made_by` and `characters` of Facts.
    counted: dict[str, Counter[str]] = {name: Counter() for name in TOLD}
    sums: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(4, np.int64))
    for shard in finished_shards(store):
        with TemporaryDirectory(prefix="mmpr-") as folder:
            path = store.fetch(layout.shard_key("pairs", shard, shards), Path(folder))
            for batch in record_batches(path, [*TOLD, "source", "strategy", "chosen", "rejected"]):
                for name in TOLD:
                    counts = batch[name].value_counts().to_pylist()
                    counted[name].update({entry["values"]: entry["counts"] for entry in counts})
                chosen, rejected = (pc.utf8_length(batch[side]).to_numpy() for side in ("chosen", "rejected"))
                groups = list(zip(batch["source"].to_pylist(), batch["strategy"].to_pylist(), strict=True))
                for group in set(groups):
                    rows = np.array([name == group for name in groups])
                    longer = (chosen > rejected)[rows].sum()
                    sums[group] += np.array([rows.sum(), chosen[rows].sum(), rejected[rows].sum(), longer], np.int64)
    characters = {
        group: Characters(chosen / rows, rejected / rows, longer / rows)
        for group, (rows, chosen, rejected, longer) in sums.items()
    }
    # What the build noted of each source; where it noted nothing, nothing is known of it.
    names = sorted(figures["sources"])
    noted = {source["name"]: source for source in config.get("sources", ())}

    unknown = {"role": "unknown", "licence": "unknown", "homepage": None, "description": ""}
    return Facts(
        figures=figures,
        sources=[cast(SourceNote, {"name": name, **unknown, **noted.get(name, {})}) for name in names],
        identity=config.get("identity", {}),
        mmpr_version=str(config.get("mmpr_version", "unknown")),
        made_by={name: dict(counts.most_common()) for name, counts in counted.items()},
        characters=characters,
        screening=read_summary(store).get("screening") if store.exists(layout.SUMMARY) else None,
        rehearsal=is_rehearsal(config),
        marks=marks_summary(read_all(store)),
    )


def _config(store: Store) -> BuildDescription:
    try:
        return read_config(store)
    except MissingKeyError:
        raise DatasetError(f"{store.url} has no {layout.CONFIG}.", remedy="Give the output of `mmpr build`.") from None
