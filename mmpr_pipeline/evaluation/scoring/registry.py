"""Scoring by name. A plug-in adds a factory under the entry point group `mmpr.scoring`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark
from mmpr_pipeline.evaluation.scoring import choice, ifeval, mathvista, open_answer, theoremqa, yes_no
from mmpr_pipeline.evaluation.scoring.chair import Chair
from mmpr_pipeline.evaluation.scoring.graded import Score

ENTRY_POINTS = "mmpr.scoring"

_RULES: dict[str, Score] = {
    "checker": choice.checker_score,
    "m3cot": choice.m3cot,
    "crpe": choice.crpe,
    "letter": choice.letter,
    "letters": choice.letters,
    "pope": yes_no.pope,
    "mathvista": mathvista.mathvista,
    "theoremqa": theoremqa.theoremqa,
    "ifeval": ifeval.ifeval,
    "anls": open_answer.anls,
    "relaxed": open_answer.relaxed,
    "words": open_answer.words_in_order,
}
_FACTORIES: dict[str, Callable[[Benchmark, Path], Score]] = {"chair": lambda told, folder: Chair(folder, told.files)}


def score_of(benchmark: Benchmark, folder: Path) -> Score:
    """The benchmark's rule; `folder` holds the further files that it needs. Raises ConfigError."""
    if benchmark.score in _RULES:
        return _RULES[benchmark.score]
    if benchmark.score in _FACTORIES:
        return _FACTORIES[benchmark.score](benchmark, folder)
    for entry in entry_points(group=ENTRY_POINTS, name=benchmark.score):
        return cast(Score, entry.load()(benchmark, folder))
    raise ConfigError(
        f"{benchmark.name}: there is no scoring {benchmark.score!r}.",
        remedy=f"Known: judge, {', '.join(sorted({*_RULES, *_FACTORIES}))}.",
    )
