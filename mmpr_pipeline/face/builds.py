"""Builds from Python: the settings of a build's YAML as keyword arguments, a summary as the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import require
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.face.source import Source

if TYPE_CHECKING:
    from mmpr_pipeline.pipeline.driver import BuildView


def build(
    sources: Sequence[str | Path | Source] | str | Path | Source,
    *,
    out: str | Path,
    engine: str | Mapping[str, Any] = "vllm",
    view: BuildView | None = None,
    **settings: Any,
) -> BuildSummary:
    """Make the dataset of these sources in `out`, or finish it, and return its summary.

    `sources`: catalog names, paths of declarations, or sources that Python made. `engine`: the name of an engine, or
    its settings. `settings`: all others, as in a build's YAML (`shards=64, sampling={"samples": 16}`). `view`: shown
    the progress; by default nothing is shown. May be killed at any time: the same call goes on from there.

    Raises ConfigError, SourceError, EngineError or StoreError, before any work where that is possible.
    """
    from mmpr_pipeline.core.settings import load_settings

    require("build")
    from mmpr_pipeline.pipeline.config import BuildConfig
    from mmpr_pipeline.pipeline.driver import run_build

    listed = [sources] if isinstance(sources, str | Path | Source) else list(sources)
    places = [str(s.declaration) if isinstance(s, Source) else str(s) for s in listed]
    chosen = {"name": engine} if isinstance(engine, str) else dict(engine)
    values = {"sources": places, "out": str(out), "engine": chosen, **settings}
    return run_build(load_settings(BuildConfig, None, values, "mmpr build"), view)


def rebuild(before: str | Path, *, out: str | Path, view: BuildView | None = None, **settings: Any) -> BuildSummary:
    """Check and pair a finished output again, into `out`, without an engine; returns the new summary.

    Marks that people set count. `settings`: what may change (`seed=1, pairing={"max_pairs": 4}`). Raises ConfigError
    for any other setting, DatasetError where `before` is not finished.
    """
    require("build")
    from mmpr_pipeline.pipeline.driver import run_plan
    from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan

    flat: dict[str, object] = {"out": str(out)}
    for name, value in settings.items():
        flat |= {f"{name}.{part}": v for part, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return run_plan(make_rebuild_plan(str(before), flat), view)
