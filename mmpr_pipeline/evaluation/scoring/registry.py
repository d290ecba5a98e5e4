"""Scoring by name. A plug-in adds a factory under the entry point group `mmpr.scoring`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark
from mmpr_pipeline.evaluation.scoring import choice, ifeval, open_answer
from mmpr_pipeline.evaluation.scoring.chair import Chair
from mmpr_pipeline.evaluation.scoring.graded import Score

SCORINGS: Registry[Callable[[Benchmark, Path], Score]] = Registry("mmpr.scoring", "scoring", {})
"""Those of other distributions."""

_RULES: dict[str, Score] = {
    "checker": choice.checker_score,
    "m3cot": choice.m3cot,
    "crpe": choice.crpe,
    "letter": choice.letter,
    "letters": choice.letters,
    "pope": choice.pope,
    "mathvista": open_answer.mathvista,
    "theoremqa": open_answer.theoremqa,
    "ifeval": ifeval.ifeval,
    "anls": open_answer.anls,
    "relaxed": open_answer.relaxed,
    "words": open_answer.words_in_order,
}
_FACTORIES: dict[str, Callable[[Benchmark, Path], Score]] = {
    "chair": lambda benchmark, folder: Chair(folder, benchmark.files)
}


def score_of(benchmark: Benchmark, folder: Path) -> Score:
    """The benchmark's rule; `folder` holds the further files that it needs. Raises ConfigError."""
    if benchmark.score in _RULES:
        return _RULES[benchmark.score]
    if benchmark.score in _FACTORIES:
        return _FACTORIES[benchmark.score](benchmark, folder)
    if benchmark.score in SCORINGS.names():
        return SCORINGS.get(benchmark.score)(benchmark, folder)
    raise ConfigError(
        f"{benchmark.name}: unknown scoring {benchmark.score!r}.",
        remedy=f"Known: judge, {', '.join(sorted({*_RULES, *_FACTORIES, *SCORINGS.names()}))}.",
    )
