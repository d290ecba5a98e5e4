"""An evaluation on benchmarks: one model or two, direct and CoT, each benchmark by its own metric; resumable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from mmpr_pipeline import __version__
from mmpr_pipeline.core.errors import ConfigError, MmprError, SourceError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.logs import FOLDER, keep_logs
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.core.registry import plugins_of
from mmpr_pipeline.dataset.files.trained_on import TrainedOn
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.evaluation.ask import ray_for
from mmpr_pipeline.evaluation.benchmarks import catalog
from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem, read_items, tiles_of
from mmpr_pipeline.evaluation.judges.judge import Judge, Memory
from mmpr_pipeline.evaluation.judges.rubric import rubric_of
from mmpr_pipeline.evaluation.results import BenchmarksEvaluation
from mmpr_pipeline.evaluation.running.answers import answer_all
from mmpr_pipeline.evaluation.running.kept import StoredScores, read_scored, scores_key, write_scored
from mmpr_pipeline.evaluation.running.summary import benchmark_results
from mmpr_pipeline.evaluation.scoring.graded import Score
from mmpr_pipeline.evaluation.scoring.registry import SCORINGS, score_of
from mmpr_pipeline.evaluation.seen import TrainingOverlap, trained_models
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.models.messages import MAX_TILES
from mmpr_pipeline.storage import Store, open_store

RESULTS = "results.json"
RESPONSE_TOKENS = 300
"""About how long an answer is that a judge reads: for the estimate of cost."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Prepared:
    benchmark: Benchmark
    score: Score | Judge


def run_benchmarks(
    config: EvalConfig, progress: Progress = no_progress, notify: Say = lambda _: None
) -> BenchmarksEvaluation:
    """Ask, score, keep, sum up; gives the results as plain data, and writes `results.json` into `config.out`.

    A benchmark that a group brought and that cannot be scored here (no judge, no annotations, not in reach) is listed
    as not run; one that was named stops the evaluation. Raises ConfigError, SourceError, EngineError.
    """
    store = open_store(config.out) if config.out else None
    if store:
        store.check_writable()
        keep_logs(store.folder / FOLDER if store.folder else None)
    with ray_for(config, config.engine):
        return asyncio.run(_run(config, store, progress, notify))


async def _run(config: EvalConfig, store: Store | None, progress: Progress, notify: Say) -> BenchmarksEvaluation:
    benchmarks = catalog.find(config.benchmarks)
    names = [config.engine.model, *([config.against] if config.against else [])]
    trained = trained_models(names)
    modes = config.modes or (config.mode,)
    scored: dict[tuple[str, str], list[StoredScores]] = {}
    async with AsyncExitStack() as stack:
        judge = None
        if config.judge is not None:
            judge = await start_engines(config.judge.engine)
            stack.push_async_callback(judge.close)
        memory = Memory(store)
        stack.callback(memory.close)
        prepared, not_run = _prepare(benchmarks, config, judge, memory)
        _tell_cost(prepared, config, len(names) * len(modes), notify)
        most_tiles = max([config.engine.most_tiles, *(tiles_of(each.benchmark, config) for each in prepared)])
        for name in names:
            engine = _Late(config.engine.model_copy(update={"model": name, "most_tiles": most_tiles}))
            try:
                await _model(name, engine, config, store, trained, prepared, not_run, scored, progress)
            finally:
                await engine.close()
    results: BenchmarksEvaluation = {
        "mmpr_version": __version__,
        "kind": "benchmarks",
        "models": list(dict.fromkeys(each.model for found in scored.values() for each in found)),
        "config": config.model_dump(mode="json", exclude={"out"}),
        "benchmarks": {
            each.benchmark.name: benchmark_results(
                each.benchmark, [scored[each.benchmark.name, mode] for mode in modes], config
            )
            for each in prepared
        },
        "not_run": not_run,
    }
    if store:
        store.write(RESULTS, json_bytes(results))
    return results


async def _model(
    name: str,
    engine: _Late,
    config: EvalConfig,
    store: Store | None,
    trained: dict[str, TrainedOn],
    prepared: list[_Prepared],
    not_run: dict[str, str],
    scored: dict[tuple[str, str], list[StoredScores]],
    progress: Progress,
) -> None:
    """One model through every benchmark and mode; a benchmark whose rows cannot be had is taken out."""
    for each in list(prepared):
        for mode in config.modes or (config.mode,):
            own = config.model_copy(update={"mode": mode})
            key = (each.benchmark.name, mode)
            try:
                found = await _one(each, engine, name, own, store, trained, progress)
            except SourceError as error:
                if each.benchmark.name in config.benchmarks or scored.get(key):
                    raise
                not_run[each.benchmark.name] = error.message
                prepared.remove(each)
                break
            scored.setdefault(key, []).append(found)


async def _one(
    prepared: _Prepared,
    engine: _Late,
    model: str,
    config: EvalConfig,
    store: Store | None,
    trained: dict[str, TrainedOn],
    progress: Progress,
) -> StoredScores:
    """One model on one benchmark in one mode; from the store where it is there."""
    benchmark = prepared.benchmark
    key, identity = scores_key(benchmark.name, config.mode, model), _identity(prepared, config, model, trained)
    if store and (known := read_scored(store, key, identity)):
        return known
    seen = TrainingOverlap(trained, config.trained_on)

    def done(count: int, of: int) -> None:
        at_work = min(config.in_flight, of - count)
        progress(f"{benchmark.title}, {config.mode}, {model}", count, of, at_work=at_work)

    started = await engine.start()
    found = await answer_all(benchmark, started, config, prepared.score, seen, done)
    if started.info.recorded:  # a file of responses does not know whose they are
        found = replace(found, model=model)
    if not found.marks:
        raise SourceError(
            f"{benchmark.title} has no row to ask; unreadable: {found.unreadable or 0}, trained on: {found.left_out}.",
            remedy="Look at its source, or choose other rows.",
        )
    if store:
        write_scored(store, key, identity, found)
    return found


def _identity(prepared: _Prepared, config: EvalConfig, model: str, trained: dict[str, TrainedOn]) -> dict[str, object]:
    """What decides the marks, so that those of other settings are not taken for these."""
    asked = ("mode", "style", "prompt_language", "limit", "skip", "samples", "temperature", "max_tokens", "seed")
    engine = config.engine.model_dump(mode="json", include={"name", "revision", "dtype", "script"})
    digest = content_id(prepared.benchmark.model_dump_json(exclude={"published", "notes", "groups"}))
    found = {
        "model": model,
        "benchmark": digest,
        "engine": engine,
        "trained_on": {"policy": config.trained_on, "models": {name: len(t.questions) for name, t in trained.items()}},
        "judge": prepared.score.label if isinstance(prepared.score, Judge) else None,
        **config.model_dump(mode="json", include=set(asked)),
    }
    # scores from before engines planned for more tiles differ
    if (tiles := tiles_of(prepared.benchmark, config)) > MAX_TILES:
        found["tiles"] = tiles
    score = prepared.benchmark.score
    scoring = SCORINGS.origins([score]) if score in SCORINGS.names() else {}
    found |= plugins_of(benchmark=catalog.benchmark_origin(prepared.benchmark.name), scoring=scoring)
    return dict(json.loads(json.dumps(found)))


def _prepare(
    benchmarks: Sequence[Benchmark], config: EvalConfig, judge: Engine | None, memory: Memory
) -> tuple[list[_Prepared], dict[str, str]]:
    """Each benchmark with its scoring; of those that a group brought, why some cannot be scored."""
    prepared: list[_Prepared] = []
    not_run: dict[str, str] = {}
    for benchmark in benchmarks:
        try:
            score: Score | Judge
            if benchmark.judge is None or (benchmark.score != "judge" and judge is None):
                score = score_of(benchmark, Path(config.benchmark_data or config.data_root or "."))
            elif judge is None or config.judge is None:
                raise ConfigError(
                    f"{benchmark.title} is scored by a judge (officially {benchmark.official_judge}).",
                    remedy="Give --judge http://HOST:PORT/v1#MODEL, with its key in OPENAI_API_KEY.",
                )
            else:
                score = Judge(judge, rubric_of(benchmark.judge, config.judge.prompts), config.judge, memory)
            prepared.append(_Prepared(benchmark, score))
        except ConfigError as error:
            if benchmark.name in config.benchmarks:
                raise
            not_run[benchmark.name] = error.message
    if not prepared:
        raise ConfigError(
            f"None of these benchmarks can be scored here: {'; '.join(not_run.values())}",
            remedy="Give --judge URL#MODEL, or --benchmark-data DIR.",
        )
    return prepared, not_run


def _tell_cost(prepared: Sequence[_Prepared], config: EvalConfig, times: int, notify: Say) -> None:
    for each in prepared:
        if isinstance(each.score, Judge):
            try:
                items = [item for item in read_items(each.benchmark, config) if isinstance(item, BenchmarkItem)]
            except MmprError:
                continue  # reported where it is asked
            cost = each.score.cost(items * times, RESPONSE_TOKENS)
            notify(f"{each.benchmark.title}: judged by {each.score.label}. {cost.as_text()}.")


class _Late:
    """An engine that is started at its first use: what was scored before needs none."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._engine: Engine | None = None

    async def start(self) -> Engine:
        """The engine."""
        if self._engine is None:
            self._engine = await start_engines(self._settings)
        return self._engine

    async def close(self) -> None:
        """Release it, so that the next model has the memory."""
        if self._engine is not None:
            await self._engine.close()


def write_tables(results: BenchmarksEvaluation, out: str) -> None:
    """The table as Markdown and as a picture beside the results."""
    from mmpr_pipeline.evaluation.comparison.table import comparison_markdown, draw_intervals

    store = open_store(out)
    store.write("table.md", comparison_markdown(results).encode("utf-8", "replace"))
    store.write("table.svg", draw_intervals(results).encode("utf-8", "replace"))
