"""The benchmarks that are known by name: those of this package, those of plug-ins, and any source of questions.

A plug-in registers a function under the entry point group `mmpr.benchmarks`; it gives a `Benchmark` or its plain data.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark, benchmark_of, load_benchmark
from mmpr_pipeline.sources.declaration.catalog import CATALOG as SOURCES
from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration

CATALOG = Path(__file__).parent / "declared"
BENCHMARKS: Registry[Callable[[], Benchmark | Mapping[str, Any]]] = Registry("mmpr.benchmarks", "benchmark", {})
"""Those of other distributions."""


@cache
def known() -> dict[str, Benchmark]:
    """Every benchmark by name. Raises ConfigError where two share one."""
    found = {path.stem: load_benchmark(path) for path in sorted(CATALOG.glob("*.yaml"))}
    for entry, benchmark in _brought().items():
        if benchmark.name in found:
            raise ConfigError(
                f"Two benchmarks are called {benchmark.name!r}.", remedy=f"Rename that of the plug-in {entry}."
            )
        found[benchmark.name] = benchmark
    return found


@cache
def _brought() -> dict[str, Benchmark]:
    """The benchmarks of plug-ins, by entry point."""
    found: dict[str, Benchmark] = {}
    for entry in BENCHMARKS.names():
        made = BENCHMARKS.get(entry)()
        found[entry] = made if isinstance(made, Benchmark) else benchmark_of(dict(made), f"of the plug-in {entry}")
    return found


def benchmark_origin(name: str) -> dict[str, str]:
    """The distribution and version that a benchmark comes from, by its name; empty for one of this package."""
    for entry, benchmark in _brought().items():
        if benchmark.name == name:
            return {name: BENCHMARKS.origins([entry])[entry]}
    return {}


@cache
def benchmark_groups() -> dict[str, tuple[str, ...]]:
    """The groups of benchmarks, and the names in each."""
    made: dict[str, list[str]] = {}
    for name, benchmark in known().items():
        for group in benchmark.groups:
            made.setdefault(group, []).append(name)
    return {group: tuple(made[group]) for group in sorted(made)}


def find(names: Iterable[str]) -> list[Benchmark]:
    """The benchmarks meant by names, groups, YAML files, and names or declarations of sources. Raises ConfigError."""
    return list({each.name: each for name in names for each in _meant_by(name)}.values())


def _meant_by(name: str) -> list[Benchmark]:
    if name in known():
        return [known()[name]]
    if name in benchmark_groups():
        return [known()[each] for each in benchmark_groups()[name]]
    if name in catalog_names():
        return [of_source(name)]
    if Path(name).suffix.lower() in (".yaml", ".yml"):
        try:
            text = Path(name).read_text("utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(
                f"Cannot read {name}: {error.strerror or error}.", remedy="Give a benchmark's name or YAML file."
            ) from None
        return [load_benchmark(Path(name)) if "metrics:" in text else of_source(name)]
    close = difflib.get_close_matches(name, [*known(), *benchmark_groups(), *catalog_names()], n=3)
    raise ConfigError(
        f"Unknown benchmark {name!r}.",
        remedy=(f"Did you mean {' or '.join(close)}? " if close else "")
        + f"Groups: {', '.join(benchmark_groups())}; `mmpr eval --list` lists all; or give a declaration (NAME.yaml).",
    )


def of_source(name: str) -> Benchmark:
    """A source of questions with answers as a benchmark: accuracy by the checker, asked as a build asks."""
    declaration, path = find_declaration(name)
    local = path.parent != SOURCES
    return Benchmark(
        name=declaration.name,
        title=declaration.name,
        rows=str(path) if local else name,
        score="checker",
        metrics=("accuracy",),
        definition="share of correct verdicts of this package's checker",
    )
