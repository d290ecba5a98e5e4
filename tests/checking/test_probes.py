"""Hand-made probes of whole families, written before the checker was asked: units, scales, languages, letters, chains.

What is in doubt may stay in doubt, within bounds; no right answer is rejected and no wrong one accepted.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.checking import check_prediction, check_response

PROBES: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "probes.jsonl").open()]


def outcome(probe: dict[str, Any]) -> str:
    named = {name: probe[name] for name in ("choices", "question", "language") if name in probe}
    if "response" in probe:
        return check_response(probe["response"], probe["gold"], kind=probe["kind"], **named).outcome
    return check_prediction(probe["prediction"], gold=probe["gold"], kind=probe["kind"], **named).outcome


@pytest.fixture(scope="module")
def outcomes() -> list[tuple[dict[str, Any], str]]:
    return [(probe, outcome(probe)) for probe in PROBES]


def test_no_wrong_answer_is_accepted(outcomes: list[tuple[dict[str, Any], str]]) -> None:
    assert [probe for probe, found in outcomes if found == "correct" and not probe["label"]] == []


def test_no_right_answer_is_rejected(outcomes: list[tuple[dict[str, Any], str]]) -> None:
    assert [probe for probe, found in outcomes if found == "incorrect" and probe["label"]] == []


def test_few_right_answers_stay_in_doubt(outcomes: list[tuple[dict[str, Any], str]]) -> None:
    right = Counter(probe["kind"] for probe in PROBES if probe["label"])
    doubtful = Counter(probe["kind"] for probe, found in outcomes if probe["label"] and found == "unparseable")
    assert [kind for kind in right if doubtful[kind] > 0.16 * right[kind]] == []
    assert sum(doubtful.values()) < 0.08 * sum(right.values())
