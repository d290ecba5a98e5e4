"""Builds, training and evaluation from Python: settings as keyword arguments, a summary as the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import ConfigError, require
from mmpr_pipeline.dataset.files.summary import BuildSummary
from mmpr_pipeline.sources.python_source import PythonSource as Source

if TYPE_CHECKING:
    import datasets

    from mmpr_pipeline.evaluation.results import SourcesEvaluation
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


def train(
    data: str | Path | datasets.Dataset | Iterable[Mapping[str, Any]],
    *,
    model: str,
    run_dir: str | Path,
    resume: bool = False,
    **settings: Any,
) -> Any:
    """Train a model on pairs by MPO (arXiv 2411.10442, section 3.3); returns what the run came to.

    `data`: the output of a build; or rows, as a `datasets.Dataset`, with `prompt` (or `question`), `chosen`,
    `rejected` and `images` (or `image`), which are written as an output of preset pairs beside the run first.
    `settings`: as in `mmpr train`'s YAML (`batch=256, learning_rate=5e-6, lora={"rank": 16}`).
    """
    from mmpr_pipeline.core.settings import load_settings

    require("train")
    from mmpr_pipeline.training.run.launch import run_training
    from mmpr_pipeline.training.settings import TrainConfig

    if not isinstance(data, str | Path):
        pairs = Path(run_dir).with_name(f"{Path(run_dir).name}-pairs")
        source = Source.from_iterable("rows", _pair_rows(data))
        build(source, out=pairs, pairing={"strategies": ["preset"]}, shards=1, screening={"decontaminate": False})
        data = pairs
    values = {"data": str(data), "model": model, "run_dir": str(run_dir), **settings}
    return run_training(load_settings(TrainConfig, None, values, "mmpr train"), resume=resume)


def evaluate(
    model: str, benchmarks: Sequence[str], *, against: str | None = None, **settings: Any
) -> SourcesEvaluation:
    """Accuracy of a model on benchmarks (catalog names or declarations); with `against`, compared with another model.

    `settings`: as in `mmpr eval`. Raises ConfigError, SourceError, EngineError.
    """
    from mmpr_pipeline.core.settings import load_settings

    require("build")
    from mmpr_pipeline.evaluation.run import run_eval
    from mmpr_pipeline.evaluation.settings import EvalConfig

    engine = {**settings.pop("engine", {}), "model": model}
    values = {"sources": list(benchmarks), "engine": engine, "against": against, **settings}
    return run_eval(load_settings(EvalConfig, None, values, "mmpr eval"))


def _pair_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """Arguments of `question` with both responses, from the columns that other tools' datasets have."""
    for number, row in enumerate(rows):
        text = _said(row.get("prompt") or row.get("question"))
        pair = {side: _said(row.get(side)) for side in ("chosen", "rejected")}
        if text is None or None in pair.values():
            raise ConfigError(
                f"Row {number} has no prompt (or question), chosen and rejected.",
                remedy=f"Name the columns so; it has {', '.join(map(str, row))}.",
            )
        images = row.get("images") or row.get("image") or ()
        yield {"text": text, "images": images, "id": str(row.get("id", number)), **pair}


def _said(value: Any) -> str | None:
    """A text, or the text of the last turn of a conversation; a list of parts is joined, images as their mark."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, Mapping):
        value = value.get("content")
        return _said(value) if isinstance(value, str) else _joined(value)
    return _said(value[-1]) if isinstance(value, Sequence) and value else None


def _joined(parts: Any) -> str | None:
    if not isinstance(parts, Sequence):
        return None
    texts = [str(part.get("text") or "") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    return re.sub(r"^\n+", "", "\n".join(texts)) or None
