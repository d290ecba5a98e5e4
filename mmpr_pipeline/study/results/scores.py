"""From the files of a study's measurements to its results: accuracies, differences from the base, and the headline.

A question's score under a row is its mean over the row's seeds, and questions are what is resampled: intervals speak
of other questions; how far seeds differ is told beside them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.json_files import json_bytes
from mmpr_pipeline.core.settings import identity_of
from mmpr_pipeline.evaluation.statistics import bootstrap_mean, compare_scores
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.study.recipe import BASE, FEEDBACK, SAME_CHOSEN, Row, StudyPlan, rows_so_far
from mmpr_pipeline.study.settings import StudyConfig
from mmpr_pipeline.study.steps.measure import COT, DESCRIBE, DIRECT, SAMPLED
from mmpr_pipeline.study.steps.step import DONE

ALL = "all"
HALLUCINATION = "hallucination"
RESULTS, TIMES = "table.json", "times.json"


@dataclass(frozen=True)
class Scores:
    """One measurement of one row: a score for each question, mean over seeds, and each seed's own mean.

    `values` (Q,) in the order of `questions`; `of_seeds` (S,).
    """

    questions: tuple[str, ...]
    sources: tuple[str, ...]
    values: np.ndarray
    of_seeds: tuple[float, ...]

    def within(self, source: str) -> np.ndarray:
        """The scores of one source's questions, or of all."""
        if source == ALL:
            return self.values
        found: np.ndarray = self.values[np.array([each == source for each in self.sources])]
        return found


def results_of(config: StudyConfig, plan: StudyPlan, root: Path) -> dict[str, Any]:
    """Everything that the tables tell, as plain data: a function of the measurements' files alone.

    Of a study that is not done it tells what is there. Raises ConfigError where not even the base was measured, or
    a step was made with other settings.
    """
    done = {step.name for step in plan.steps.values() if step.done(root) is not None}
    if BASE not in done:
        raise ConfigError(f"Nothing was measured yet in {root}.", remedy="Run the study first; it can be stopped.")
    rows = rows_so_far(plan.rows, done)
    measured = {(row.table, row.label): _row_scores(row, root) for row in rows}
    base = measured["losses", "base"]
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found = measured[row.table, row.label]
        # Pairs and what they cost, summed over the seeds.
        facts: dict[str, Any] = {"seeds": len(row.measured)}
        for name in row.built:
            counts = _counts_of(root, name)
            for fact in ("pairs", "rollouts", "generated_tokens"):
                facts[fact] = facts.get(fact, 0) + _total(counts[fact])
        costs = [_counts_of(root, name) for name in row.cost or row.built]
        if costs:
            tokens, pairs = (sum(_total(each[fact]) for each in costs) for fact in ("generated_tokens", "pairs"))
            facts["tokens_a_pair"] = tokens / max(1, pairs)
        tables.setdefault(row.table, []).append(
            {
                "label": row.label,
                **facts,
                **{way: _measured(scores, base.get(way), config) for way, scores in found.items()},
            }
        )
    return {
        "config": identity_of(config),
        "steps": {"done": len(done), "of": len(plan.steps)},
        "tables": tables,
        "headline": _headline(measured, config),
    }


def write_results(results: dict[str, Any], root: Path) -> None:
    """table.json, table.md, the curves, and what each step took (apart: time is in no table)."""
    from mmpr_pipeline.study.results.curves import draw_curves
    from mmpr_pipeline.study.results.table import study_markdown

    store = open_store(root)
    store.write(RESULTS, json_bytes(results))
    store.write("table.md", study_markdown(results).encode())
    for name, svg in draw_curves(results, root).items():
        store.write(name, svg.encode())
    times = {}
    for path in sorted((root / "steps").rglob(DONE)):
        name = path.parent.relative_to(root / "steps").as_posix()
        times[name] = json.loads(path.read_text("utf-8"))["seconds"]
    store.write(TIMES, json_bytes({"seconds": round(sum(times.values()), 1), "steps": times}))


def _row_scores(row: Row, root: Path) -> dict[str, Scores]:
    found = {}
    for way in (COT, SAMPLED, DIRECT):
        files = [root / "steps" / name / way / "responses-0.jsonl" for name in row.measured]
        if all(path.is_file() for path in files):
            found[way] = _pooled([_lines(path) for path in files], lambda line: line["score"])
    files = [root / "steps" / name / f"{DESCRIBE}.jsonl" for name in row.measured]
    if all(path.is_file() for path in files):
        pooled = _pooled([_lines(path) for path in files], lambda line: line["false"] / max(1, line["named"]))
        found[HALLUCINATION] = pooled
        found["missed"] = _pooled([_lines(path) for path in files], lambda line: line["missed"] / line["present"])
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _pooled(seeds: list[list[dict[str, Any]]], score: Any) -> Scores:
    ids = [tuple(line["question_id"] for line in lines) for lines in seeds]
    assert len(set(ids)) == 1, "every model is asked the same questions, in the same order"
    values = np.array([[score(line) for line in lines] for lines in seeds], dtype=np.float64)
    sources = tuple(line.get("source", "nano_describe") for line in seeds[0])
    return Scores(ids[0], sources, values.mean(0), tuple(float(m) for m in values.mean(1)))


def _counts_of(root: Path, step: str) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads((root / "steps" / step / DONE).read_text("utf-8"))["counts"]
    return counts


def _total(count: Any) -> int:
    return sum(_total(each) for each in count.values()) if isinstance(count, dict) else int(count)


def _measured(scores: Scores, base: Scores | None, config: StudyConfig) -> dict[str, Any]:
    """By source and over all: the mean with its interval, and the difference from the base with its own."""
    found: dict[str, Any] = {"of_seeds": list(scores.of_seeds)}
    for source in (ALL, *dict.fromkeys(scores.sources)):
        values = scores.within(source)
        found[source] = {"mean": asdict(bootstrap_mean(values.tolist(), config.measure.resamples))}
        if base is not None and base is not scores:
            found[source]["gain"] = _difference(base.within(source), values, config)
    return found


def _difference(first: np.ndarray, second: np.ndarray, config: StudyConfig) -> dict[str, Any]:
    return asdict(compare_scores(second.tolist(), first.tolist(), config.measure.resamples))


def _headline(measured: dict[tuple[str, str], dict[str, Scores]], config: StudyConfig) -> list[dict[str, Any]]:
    """What the study set out to show, each as a difference with its interval and whether that shows it."""
    claims: list[dict[str, Any]] = []

    def claim(name: str, what: str, first: Scores | None, second: Scores | None) -> None:
        if first is not None and second is not None:
            difference = _difference(first.values, second.values, config)
            held = difference["difference"]["low"] > 0
            claims.append({"name": name, "what": what, **difference, "held": bool(held)})

    def cot(name: str, what: str, first: dict[str, Scores], second: dict[str, Scores]) -> None:
        claim(name, f"CoT accuracy, {what}", first.get(COT), second.get(COT))
        claim(f"{name}_sampled", f"CoT accuracy at T=1, {what}", first.get(SAMPLED), second.get(SAMPLED))

    of: dict[tuple[str, str], dict[str, Scores]] = defaultdict(dict, measured)
    base, mpo = of["losses", "base"], of["losses", "mpo"]
    off, on = of["DropNTP", "off"], of["DropNTP", f"{config.pairing.dropout_ratio:g}"]
    cot("mpo_cot", "MPO over base", base, mpo)
    cot("mpo_sft", "MPO over SFT", of["losses", "sft"], mpo)
    if config.sizes and max(config.sizes) != config.size:
        largest = f"{max(config.sizes)}x"
        cot("largest", f"MPO at {largest} over base", base, of["pairs", largest])
    for number in range(2, config.rounds + 1):
        before, after = (of["rounds", f"{n}"] for n in (number - 1, number))
        cot(f"round_{number}", f"round {number} over {number - 1}", before, after)
        cot(f"round_{number}_base", f"round {number} over base", base, after)
    claim("mpo_direct", "direct accuracy, MPO over base", base.get(DIRECT), mpo.get(DIRECT))
    claim("cot_direct", "MPO: CoT over direct", mpo.get(DIRECT), mpo.get(COT))
    claim("mpo_hallucination", "hallucination, base over MPO", mpo.get(HALLUCINATION), base.get(HALLUCINATION))
    claim("dropout", "hallucination, DropNTP off over on", on.get(HALLUCINATION), off.get(HALLUCINATION))
    claim("dropout_base", "hallucination, base over DropNTP", on.get(HALLUCINATION), base.get(HALLUCINATION))
    feedback, dropped = of["feedback", FEEDBACK], of["feedback", SAME_CHOSEN]
    claim("feedback_base", "hallucination, base over feedback", feedback.get(HALLUCINATION), base.get(HALLUCINATION))
    claim("same_chosen_base", "hallucination, base over DropNTP on the same chosen", dropped.get(HALLUCINATION),
          base.get(HALLUCINATION))  # fmt: skip
    claim("same_chosen", "hallucination, feedback over DropNTP on the same chosen", dropped.get(HALLUCINATION),
          feedback.get(HALLUCINATION))  # fmt: skip
    cot("same_chosen_cot", "DropNTP over feedback, same chosen", feedback, dropped)
    return claims
