"""Precision of places, and that none stands before one that is surely better."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mmpr_pipeline.checking.case import Gold
from mmpr_pipeline.checking.cases import BadCase, case_of
from mmpr_pipeline.checking.measure import PlaceScore, measure_places

MARK = re.compile(r"\s*(?:####|\nA:).*$")


def test_scores() -> None:
    score = PlaceScore()
    for outcome, label in [("correct", True), ("correct", False), ("incorrect", True), ("unparseable", True)]:
        score.add(outcome, label)
    assert (score.decided, score.right, score.false_positives, score.false_rejections, score.doubtful) == (
        3,
        1,
        1,
        1,
        1,
    )
    low, high = score.interval()
    assert 0 < low < 1 / 3 < high < 1
    assert PlaceScore().interval() == (0.0, 1.0)
    assert PlaceScore().precision is None


def test_a_place_is_asked_on_its_own() -> None:
    gold = Gold.of("12", kind="number", question="How many apples does Tom have left?")
    response = "Tom has 12 apples left.\nThen he goes home at 5 with his friends and a dog and eats dinner there."
    found = measure_places([(response, gold, True)])["number"]
    assert found["restated"].right == 1
    assert found["last_sentence"].right == 0


def labelled(folder: Path) -> Iterator[tuple[str, Gold, bool]]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            if isinstance(row.get("response"), str) and isinstance(row.get("label"), bool):
                try:
                    yield MARK.sub("", row["response"]), case_of(row, 0, "response").gold, row["label"]
                except BadCase:
                    continue


def test_no_place_stands_before_one_that_is_surely_better(answers: Path) -> None:
    cases = [*labelled(answers), *labelled(answers.with_name("answers2"))]
    assert cases
    for kind, scores in measure_places(cases).items():
        ordered = list(scores.items())
        for i, (name, score) in enumerate(ordered):
            for later, other in ordered[i + 1 :]:
                assert score.interval()[1] >= other.interval()[0], (kind, name, score, later, other)
