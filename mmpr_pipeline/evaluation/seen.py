"""Rows that a model was trained on, as its export tells: left out, refused or kept, and counted by what was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.dataset.files.trained_on import TrainedOn, read_trained_on
from mmpr_pipeline.models.resolve import resolve_model


def trained_models(names: Iterable[str]) -> dict[str, TrainedOn]:
    """What models were trained on, by their labels; without those whose folder says nothing of it."""
    known = {name: found for name in names if (found := read_trained_on(name))}
    return {resolve_model(name).label if Path(name).is_dir() else name: found for name, found in known.items()}


def rows_seen(counts: Mapping[str, int]) -> str:
    """How many rows a model was trained on, by what of them it has seen: `the image of 3, the wording of 12`."""
    return ", ".join(f"the {way} of {rows:,}" for way, rows in counts.items() if rows)


@dataclass
class TrainingOverlap:
    """What models were trained on, by their labels, and what of it is asked."""

    models: dict[str, TrainedOn]
    policy: Literal["leave_out", "refuse", "keep"] = "leave_out"
    left_out: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """For each model: of the rows asked, how many it has seen by question, image or wording."""

    def keeps(self, question: Question) -> bool:
        """Whether the question is asked; counts what a model has seen of it. Raises ConfigError: refuse."""
        known = [name for name, trained in self.models.items() if trained.question(question)]
        if known and self.policy == "refuse":
            raise ConfigError(
                f"{known[0]} was trained on {question.source} {question.source_id}.",
                remedy="Evaluate on other rows, or say --trained-on leave_out (or keep).",
            )
        if known and self.policy == "leave_out":
            self.left_out += 1
            return False
        for name, trained in self.models.items():
            ways = (("question", trained.question), ("image", trained.image), ("wording", trained.wording))
            self.counts.setdefault(name, Counter()).update(way for way, has in ways if has(question))
        return True
