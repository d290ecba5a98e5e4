"""From the files of a study's measurements to its results: accuracies, differences from the base, and the headline.

A question's score under a row is its mean over the row's seeds, and questions are what is resampled: intervals speak
of other questions; the spread over seeds stands beside them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, cast

import numpy as np

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.settings import identity_of
from mmpr_pipeline.dataset.files.layout import CountsFields
from mmpr_pipeline.evaluation.results import ComparisonFields
from mmpr_pipeline.evaluation.statistics import bootstrap_mean, compare_scores
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.study.recipe import BASE, FEEDBACK, SAME_CHOSEN, Row, StudyPlan, rows_so_far
from mmpr_pipeline.study.results.table import Claim, SourceScore, StudyChoices, StudyResults, StudyRow, Way, WayScores
from mmpr_pipeline.study.settings import StudyConfig
from mmpr_pipeline.study.steps.measure import COT, DESCRIBE, DIRECT, SAMPLED
from mmpr_pipeline.study.steps.step import DONE, HandedOver

ALL = "all"
HALLUCINATION: Final = "hallucination"
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


class _Scored(NamedTuple):
    """One question's score, as a measurement wrote it down."""

    question_id: str
    source: str
    score: float


def results_of(config: StudyConfig, plan: StudyPlan, root: Path) -> StudyResults:
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
    tables: dict[str, list[StudyRow]] = {}
    for row in rows:
        line: StudyRow = {"label": row.label, "seeds": len(row.measured)}
        # Pairs and what they cost, summed over the seeds.
        if built := [_counts_of(root, name) for name in row.built]:
            line["pairs"] = sum(sum(counts["pairs"].values()) for counts in built)
            line["rollouts"] = sum(sum(counts["rollouts"].values()) for counts in built)
            line["generated_tokens"] = sum(counts["generated_tokens"] for counts in built)
        if costs := [_cost_of(root, name) for name in row.cost or row.built]:
            line["tokens_a_pair"] = sum(tokens for tokens, _ in costs) / max(1, sum(pairs for _, pairs in costs))
        for way, scores in measured[row.table, row.label].items():
            line[way] = _measured(scores, base.get(way), config)
        tables.setdefault(row.table, []).append(line)
    return {
        "config": cast(StudyChoices, identity_of(config)),
        "steps": {"done": len(done), "of": len(plan.steps)},
        "tables": tables,
        "headline": _headline(measured, config),
    }


def write_results(results: StudyResults, root: Path) -> None:
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


def _row_scores(row: Row, root: Path) -> dict[Way, Scores]:
    found: dict[Way, Scores] = {}
    ways: tuple[Way, ...] = (COT, SAMPLED, DIRECT)
    for way in ways:
        files = [root / "steps" / name / way / "responses-0.jsonl" for name in row.measured]
        if all(path.is_file() for path in files):
            found[way] = _pooled([_answered(path) for path in files])
    files = [root / "steps" / name / f"{DESCRIBE}.jsonl" for name in row.measured]
    if all(path.is_file() for path in files):
        found[HALLUCINATION] = _pooled(
            [_described(path, lambda each: each["false"] / max(1, each["named"])) for path in files]
        )
        found["missed"] = _pooled([_described(path, lambda each: each["missed"] / each["present"]) for path in files])
    return found


def _answered(path: Path) -> list[_Scored]:
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return [_Scored(line["question_id"], line["source"], line["score"]) for line in lines]


def _described(path: Path, score: Callable[[Mapping[str, int]], float]) -> list[_Scored]:
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return [_Scored(line["question_id"], "nano_describe", score(line)) for line in lines]


def _pooled(seeds: list[list[_Scored]]) -> Scores:
    ids = [tuple(line.question_id for line in lines) for lines in seeds]
    assert len(set(ids)) == 1, "every model is asked the same questions, in the same order"
    values = np.array([[line.score for line in lines] for lines in seeds], dtype=np.float64)
    sources = tuple(line.source for line in seeds[0])
    return Scores(ids[0], sources, values.mean(0), tuple(float(m) for m in values.mean(1)))


def _counts_of(root: Path, build: str) -> CountsFields:
    counts: CountsFields = json.loads((root / "steps" / build / DONE).read_text("utf-8"))["counts"]
    return counts


def _cost_of(root: Path, step: str) -> tuple[int, int]:
    """Generated tokens and pairs of a step, whether it built or handed over."""
    counts: CountsFields | HandedOver = json.loads((root / "steps" / step / DONE).read_text("utf-8"))["counts"]
    pairs = counts["pairs"]
    return counts["generated_tokens"], sum(pairs.values()) if isinstance(pairs, dict) else pairs


def _measured(scores: Scores, base: Scores | None, config: StudyConfig) -> WayScores:
    """By source and over all: the mean with its interval, and the difference from the base with its own."""
    found: WayScores = {"of_seeds": list(scores.of_seeds)}
    for source in (ALL, *dict.fromkeys(scores.sources)):
        values = scores.within(source)
        score: SourceScore = {"mean": bootstrap_mean(values.tolist(), config.measure.resamples).plain()}
        if base is not None and base is not scores:
            score["gain"] = _difference(base.within(source), values, config)
        found[source] = score
    return found


def _difference(first: np.ndarray, second: np.ndarray, config: StudyConfig) -> ComparisonFields:
    return compare_scores(second.tolist(), first.tolist(), config.measure.resamples).plain()


def _headline(measured: dict[tuple[str, str], dict[Way, Scores]], config: StudyConfig) -> list[Claim]:
    """What the study set out to show, each as a difference with its interval and whether that shows it."""
    claims: list[Claim] = []

    def claim(name: str, what: str, first: Scores | None, second: Scores | None) -> None:
        if first is not None and second is not None:
            difference = _difference(first.values, second.values, config)
            held = difference["difference"]["low"] > 0
            claims.append({"name": name, "what": what, **difference, "held": bool(held)})

    def cot(name: str, what: str, first: dict[Way, Scores], second: dict[Way, Scores]) -> None:
        claim(name, f"CoT accuracy, {what}", first.get(COT), second.get(COT))
        claim(f"{name}_sampled", f"CoT accuracy at T=1, {what}", first.get(SAMPLED), second.get(SAMPLED))

    of: dict[tuple[str, str], dict[Way, Scores]] = defaultdict(dict, measured)
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
