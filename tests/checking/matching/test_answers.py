"""The matchers on real models' labelled answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpr_pipeline.checking.case import Match
from mmpr_pipeline.checking.matching.math import match_math
from tests.checking.conftest import labelled_set

_MATCHERS = {"number": match_math, "list": match_math, "math": match_math}
GOALS = {
    "mathvista": 99.5,
    "mathvision": 99.5,
    "tabmwp": 99.5,
    "qwen_math_cot": 99.5,
    "mathverify_tests": 99.5,
    "hardverify_math": 90.0,
    "grader_unit_tests": 97.0,
}


def _cases(path: Path) -> Iterator[tuple[dict[str, object], Match]]:
    for line in path.read_text().splitlines():
        case = json.loads(line)
        if case["kind"] in _MATCHERS and case.get("prediction") is not None:
            matcher = _MATCHERS[case["kind"]]
            known = {
                "unit": case.get("unit"),
                "precision": case.get("precision"),
                "question": case.get("question") or "",
            }
            yield case, matcher(case["prediction"], case["gold"], **known)


@pytest.mark.parametrize("name", GOALS)
def test_labelled_answers(answers: Path, name: str) -> None:
    judged = [(case["label"], match.outcome == "correct") for case, match in _cases(labelled_set(answers, name))]
    assert 100 * sum(label == verdict for label, verdict in judged) / len(judged) >= GOALS[name]
    assert sum(verdict and not label for label, verdict in judged) <= 0.003 * len(judged)


def test_adversarial_answers(answers: Path) -> None:
    marks = set(Path("/tmp").glob("PWNED*"))
    for line in (answers / "adversarial.jsonl").read_text().splitlines():
        case = json.loads(line)
        verdict = match_math(case["prediction"], case["gold"]).outcome == "correct"
        assert case["label"] is None or case["label"] == verdict or case["gold"] in "AB", case["id"]
    assert set(Path("/tmp").glob("PWNED*")) == marks
