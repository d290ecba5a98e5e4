"""The goals on labelled answers of real models: whole sets beside the checkout, else the sample."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpr_pipeline.checking import cases
from mmpr_pipeline.checking.cases import Level, Score
from tests.checking.conftest import labelled_set

RESPONSES = ["mathvista", "mathvision", "tabmwp", "gaokao_zh", "qwen_math_cot", "hallusionbench_yesno"]
PREDICTIONS = {
    "mathvista": 0.995,
    "mathvision": 0.995,
    "tabmwp": 0.995,
    "gaokao_zh": 0.995,
    "qwen_math_cot": 0.995,
    "mathverify_tests": 0.995,
    "chart_doc_metrics": 0.97,
    "docvqa_real": 0.97,
    "grader_unit_tests": 0.97,
    "hardverify_math": 0.90,
}
LABELLED_WRONG = {
    # An empty response is labelled right.
    "tabmwp-00192", "tabmwp-00198", "tabmwp-00201", "tabmwp-00216",
    # The response names A, B, C and A, B as the sentences without a fault; the label takes its first letter.
    "gaokao_zh-00241", "gaokao_zh-00243",
    # The answer found is that of a question which the model made up after its own answer.
    "mathvista-02093",
    # The letter named is not that of the value named beside it.
    "mathvista-02207", "mathvista-04307",
}  # fmt: skip


def judged(path: Path, level: Level) -> Iterator[cases.Judged]:
    """Verdicts on the labelled answers of one level."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        if row.get(level) is not None and row["id"] not in LABELLED_WRONG:
            yield cases.judge_line(line, number, level)


def score(path: Path, level: Level) -> Score:
    total = Score(path.stem)
    for verdict in judged(path, level):
        total.add(verdict)
    return total


@pytest.mark.parametrize("name", RESPONSES)
def test_responses(answers: Path, name: str) -> None:
    found = score(labelled_set(answers, name), "response")
    assert found.accuracy is not None
    assert found.accuracy >= 0.985, found
    assert found.false_positives <= 0.003 * found.labelled, found


@pytest.mark.parametrize(("name", "goal"), PREDICTIONS.items())
def test_predictions(answers: Path, name: str, goal: float) -> None:
    found = score(labelled_set(answers, name), "prediction")
    assert found.accuracy is not None
    assert found.accuracy >= goal, found
    assert found.false_positives <= 0.003 * found.labelled, found


@pytest.mark.parametrize("level", ["prediction", "response"])
def test_hostile_inputs(answers: Path, level: Level, tmp_path: Path) -> None:
    traps = [Path(f"/tmp/PWNED_{n}") for n in range(30)]
    for line in (answers / "adversarial.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        started = time.process_time()
        verdict = cases.judge_line(json.dumps({**row, level: row["prediction"]}), 0, level)
        assert time.process_time() - started < 1.0, row["id"]
        if row["label"] is not None and (level == "prediction" or not row["label"]):
            assert (verdict.outcome == "correct") == row["label"], (row["id"], verdict)
    assert not any(trap.exists() for trap in traps)


def test_recorded_rollouts_agree_with_the_benchmarks_own_labels(shared_data: Path) -> None:
    """The benchmark's labels miss values with units; what it takes for right, we must take for right too."""
    questions = [json.loads(line) for line in (shared_data / "mathvision" / "questions.jsonl").open(encoding="utf-8")]
    by_id = {question["id"]: question for question in questions}
    right = missed = more = 0
    for line in (shared_data / "mathvision" / "rollouts.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        question = by_id[row["question_id"]]
        case = {
            "id": "r",
            "response": row["response"],
            "gold": question["answer"],
            **{k: question[k] for k in ("kind", "choices", "question")},
        }
        verdict = cases.judge_line(json.dumps(case))
        if row["official_correct"]:
            right += 1
            missed += verdict.outcome != "correct"
        else:
            more += verdict.outcome == "correct"
    assert missed <= 0.01 * right
    assert more <= 0.02 * 3600
