"""An evaluation: questions, one model or two, accuracies, intervals, the comparison; as data, files and a table."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

from mmpr_pipeline.core.errors import ConfigError, EngineError, require
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.logs import FOLDER, keep_logs
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.evaluation.ask import Answered, ask_all, questions_of, ray_for
from mmpr_pipeline.evaluation.comparison.table import COLOURS, sentence, verdict
from mmpr_pipeline.evaluation.results import (
    ComparisonFields,
    DifferenceFields,
    MeanFields,
    ModelAccuracy,
    SourcesEvaluation,
)
from mmpr_pipeline.evaluation.seen import TrainingOverlap, rows_seen, trained_models
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.evaluation.statistics import bootstrap_mean, compare_scores
from mmpr_pipeline.storage import open_store

if TYPE_CHECKING:
    from rich.console import RenderableType


def run_eval(config: EvalConfig, progress: Progress | None = None) -> SourcesEvaluation:
    """Ask, judge, and sum up; gives the results as plain data, and writes them to `config.out` if that is given.

    `models` has for each model its label and an Estimate for each source and for `all`; with `against`, `comparison`
    has the same for the model minus the other one. Raises ConfigError, SourceError, EngineError.
    """
    require("build")
    questions, rejects = questions_of(config)
    _writable(config)
    names = [config.engine.model, *([config.against] if config.against else [])]
    seen = TrainingOverlap(trained_models(names), config.trained_on)
    kept = [question for question in questions if seen.keeps(question)]
    if not kept:
        raise ConfigError(
            f"{' and '.join(seen.models)} trained on all of these {len(questions)} rows.",
            remedy="Evaluate on rows of another split or behind --skip; or say --trained-on keep.",
        )
    answered = [_answers(config, name, kept, progress or no_progress) for name in names]
    return _summed_up(config, answered, rejects, seen)


async def run_eval_on(engine: Engine, config: EvalConfig) -> SourcesEvaluation:
    """`run_eval` of the one model of an engine that runs already: several evaluations share its start.

    `config.engine` is written down with the results, as what the engine is.
    """
    questions, rejects = questions_of(config)
    _writable(config)
    answered = await ask_all(questions, engine, config, lambda _: None)
    _some_answered(engine.info.model, answered)
    return _summed_up(config, [(engine.info.model, answered)], rejects)


def _writable(config: EvalConfig) -> None:
    if config.out:
        store = open_store(config.out)
        store.check_writable()
        keep_logs(store.folder / FOLDER if store.folder else None)


def _summed_up(
    config: EvalConfig,
    answered: list[tuple[str, list[Answered]]],
    rejects: list[Reject],
    seen: TrainingOverlap | None = None,
) -> SourcesEvaluation:
    """The results, written where the config says."""
    results: SourcesEvaluation = {
        "mode": config.mode,
        "config": config.model_dump(mode="json", exclude={"out"}),
        "unreadable": dict(Counter(f"{r.source}: {r.reason}" for r in rejects)),
        "models": [_summary(label, each, config) for label, each in answered],
        "left_out": seen.left_out if seen else 0,
        "seen": {label: dict(count) for label, count in seen.counts.items()} if seen else {},
    }
    if config.against:
        model = answered[0][1]
        other = answered[1][1]
        ours, theirs = _by_source(model), _by_source(other)
        results["comparison"] = {
            name: compare_scores(
                [e.score for e in ours[name]], [e.score for e in theirs[name]], config.resamples, config.seed
            ).plain()
            for name in ours
        }
    if config.out:
        store = open_store(config.out)
        for number, (_, each) in enumerate(answered):
            store.write(f"responses-{number}.jsonl", _lines(each))
        store.write("results.json", json_bytes({**results, "labels": [label for label, _ in answered]}))
    return results


def _answers(
    config: EvalConfig, model: str, questions: list[Question], progress: Progress
) -> tuple[str, list[Answered]]:
    """The label of a model, and its answers."""
    settings = config.engine.model_copy(update={"model": model})

    async def work() -> tuple[str, list[Answered]]:
        progress(f"starting {model}", 0, 0)
        engine = await start_engines(settings, (question.tiles for question in questions))
        try:
            label = engine.info.model

            def asked(done: int) -> None:
                of = len(questions)
                progress(f"asking {label}", done, of, at_work=min(config.in_flight, of - done))

            asked(0)
            return label, await ask_all(questions, engine, config, asked)
        finally:
            await engine.close()

    with ray_for(config, settings):
        label, answered = asyncio.run(work())
    _some_answered(label, answered)
    return label, answered


def _some_answered(label: str, answered: list[Answered]) -> None:
    if all(each.reason for each in answered):
        reasons = dict(Counter(each.reason for each in answered))
        raise EngineError(f"{label} could answer none of {len(answered)} questions: {reasons}.")


def _by_source(answered: list[Answered]) -> dict[str, list[Answered]]:
    groups: dict[str, list[Answered]] = {"all": answered}
    for each in answered:
        groups.setdefault(each.question.source, []).append(each)
    return groups


def _summary(label: str, answered: list[Answered], config: EvalConfig) -> ModelAccuracy:
    verdicts = [v for each in answered for v in each.verdicts]
    return {
        "model": label,
        "accuracy": {
            name: bootstrap_mean([e.score for e in group], config.resamples, config.seed).plain()
            for name, group in _by_source(answered).items()
        },
        "outcomes": dict(sorted(Counter(v.outcome for v in verdicts).items())),
        "not_asked": dict(sorted(Counter(e.reason for e in answered if e.reason).items())),
        "tokens": sum(r.tokens for e in answered for r in e.responses) / max(1, len(verdicts)),
    }


def _lines(answered: list[Answered]) -> bytes:
    lines = [
        {
            "question_id": each.question.question_id,
            "source": each.question.source,
            "source_id": each.question.source_id,
            "question": each.question.text,
            "answer": each.question.answer,
            "score": each.score,
            "reason": each.reason,
            "responses": [
                {"text": r.text, "tokens": r.tokens, "outcome": v.outcome, "extracted": v.extracted, "rule": v.rule}
                for r, v in zip(each.responses, each.verdicts, strict=True)
            ],
        }
        for each in answered
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8", "replace")


def results_tables(results: SourcesEvaluation) -> RenderableType:
    """The results as tables for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def interval(of: MeanFields) -> str:
        return f"{100 * of['mean']:.1f}  [{100 * of['low']:.1f}, {100 * of['high']:.1f}]"

    models = results["models"]
    title = Text(f"Accuracy, % ({results['mode']}), with 95% intervals over questions", style="italic")
    table = Table()  # a title of its own would be broken at the table's width
    for heading in ["source", "questions", *(m["model"] for m in models)]:
        table.add_column(Text(heading), overflow="fold")
    accuracy = models[0]["accuracy"]
    names = [name for name in accuracy if name != "all" or len(accuracy) != 2]  # one source is all there is
    for name in names:
        table.add_row(name, str(accuracy[name]["questions"]), *(interval(m["accuracy"][name]) for m in models))
    lines = []
    if results["left_out"]:
        lines.append(Text(f"{results['left_out']} rows left out: a model was trained on them.", style="yellow"))
    for model, counts in results["seen"].items():
        if rows := rows_seen(counts):
            note = f"Contamination: of the rows asked, {model} was trained on {rows}."
            lines.append(Text(note, style="yellow"))
    comparison: dict[str, ComparisonFields] = results.get("comparison", {})
    for name in names if comparison else ():
        found = comparison[name]
        mean = found["difference"]
        change: DifferenceFields = {
            "value": mean["mean"], "low": mean["low"], "high": mean["high"], "better": found["better"],
            "worse": found["worse"], "p": found["p"],
        }  # fmt: skip
        difference = sentence(models[0]["model"], models[1]["model"], change, scale=100)
        lines.append(Text(f"{name}: {difference} (p {found['p']:.2g}, sign test)", style=COLOURS[verdict(change)]))
    return Group(title, table, *lines)
