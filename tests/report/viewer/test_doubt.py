from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmpr_pipeline.core.schemas import ROLLOUT_SCHEMA
from mmpr_pipeline.dataset.files.marks import Mark, Marks
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.doubt import WHY, doubts, often_overruled
from mmpr_pipeline.storage.store import open_store
from tests.dataset.conftest import make_outcome, write_shard

Seen = dict[str, Any]


def seen(index: int, outcome: str | None, answer: str | None = "x", rule: str = "number", text: str = "") -> Seen:
    ends = "length" if rule == "cut" else "stop"
    told = {"index": index, "outcome": outcome, "extracted": answer, "rule": rule, "finish_reason": ends}
    return {**told, "tokens": 100, "text": text}


def doubt(gold: str, kind: str, rollouts: list[Seen], overruled: dict[str, int] | None = None) -> tuple[int, int, str]:
    """Worth, rollout and reason of the greatest doubt about one question, which stands between two others."""
    schema = ROLLOUT_SCHEMA.remove(0)
    names = [name for name in rollouts[0] if name in schema.names]
    table = pa.Table.from_pylist(rollouts, pa.schema([schema.field(name) for name in names]))
    questions = [(["other"], "text"), ([gold], kind), (["none"], "none")]
    worth, index, why = doubts(questions, np.full(len(rollouts), 1), table, overruled or {})
    assert not worth[[0, 2]].any()
    return int(worth[1]), int(index[1]), WHY[why[1]]


RIGHT = [seen(i, "correct", "7") for i in range(8)]
SIX_NINES = [seen(i, "incorrect", "9") for i in range(6)]
TAIL = "so it must be 42 or so"
CASES = [
    ("7", "number", RIGHT, 0, ""),
    ("7.5 cm", "text", [*RIGHT, seen(8, "incorrect", "$7.5$\\text{cm}")], 8, "equal as text, judged incorrect"),
    ("1200", "number", [*RIGHT, seen(9, "incorrect", "1201"), seen(10, "incorrect", "5")], 9, "close to the gold"),
    ("blue car", "text", [seen(0, "incorrect", "a blue car here"), seen(1, "correct")], 0, "gold within the answer"),
    ("7", "number", [*RIGHT, seen(8, "incorrect", "99")], 8, "one against all"),
    ("7", "number", SIX_NINES, 0, "most agree on another answer than the gold"),
    ("B", "choice", [seen(0, "incorrect", "A", "choice_value_of_none")], 0, "rule that guesses"),
    ("7", "number", [seen(0, "incorrect", "99", "cut")], 0, "cut off, yet judged"),
    ("42", "number", [seen(0, "unparseable", None, text=TAIL)], 0, "unparseable, yet states the gold"),
    ("4", "number", [seen(0, "incorrect", "4!")], 0, ""),
    ("42", "number", [seen(0, "unparseable", None, text="it is 420")], 0, ""),
    ("42", "number", [seen(0, None, text=TAIL)], 0, ""),
    ("7", "number", [*RIGHT, seen(8, "unparseable", "seven", "second_disagrees")], 8, "second opinion disagrees"),
    ("7", "number", [seen(3, "correct", "vii", "second_correct")], 3, "decided by the second opinion alone"),
    ("7", "number", [*RIGHT, {**seen(8, "correct", "7"), "tokens": 401}], 8, "far longer than the others"),
    ("7", "number", [*RIGHT, {**seen(8, "correct", "7"), "tokens": 400}], 0, ""),
]


@pytest.mark.parametrize(("gold", "kind", "rollouts", "index", "why"), CASES)
def test_the_greatest_doubt_is_named(gold: str, kind: str, rollouts: list[Seen], index: int, why: str) -> None:
    worth, which, reason = doubt(gold, kind, rollouts)
    assert (reason, which) == (why, index)
    assert (worth > 0) == bool(why)
    assert worth < 100


def test_a_lucky_guess_among_choices_is_doubted_less_than_a_lone_wrong_number() -> None:
    lucky = doubt("B", "choice", [*(seen(i, "incorrect", f"{i}") for i in range(7)), seen(7, "correct")])
    assert lucky[0] < doubt("7", "number", [*RIGHT, seen(8, "incorrect", "99")])[0]


def test_further_reasons_add_to_the_worth_of_a_verdict() -> None:
    once = doubt("7", "number", [seen(0, "incorrect", "99", "cut")])[0]
    assert doubt("B", "choice", [{**seen(0, "correct", "B", "cut"), "rule": "choice_mention"}])[0] == once + 4


def test_a_rule_that_people_overruled_is_doubted_from_then_on() -> None:
    marks = Marks()
    judged = {"judged": "correct", "by": "ada", "drawn": "sample"}
    for number in range(12):
        outcome = "incorrect" if number < 6 else "correct"
        marks.add(Mark(question_id=f"{number:032x}", index=0, outcome=outcome, rule="same_text", **judged))
        marks.add(Mark(question_id=f"{number:032x}", index=1, outcome="correct", rule="same_number", **judged))
    overruled = often_overruled(marks)
    assert overruled == {"same_text": 50}
    verdict = [seen(0, "correct", "a cat", "same_text")]
    assert doubt("cat", "text", verdict) == (0, 0, "")
    assert doubt("cat", "text", verdict, overruled) == (50, 0, "people often overrule this rule")


def test_a_shard_has_a_doubt_a_question(tmp_path: Path) -> None:
    first, *others = (make_outcome(n, rollouts=8) for n in range(5))
    judged = {True: {"outcome": "incorrect", "extracted": "5"}, False: {"outcome": "correct", "extracted": "0"}}
    lone = tuple(r.model_copy(update=judged[r.index == 3]) for r in first.rollouts)
    row = first.row.model_copy(update={"correct": 7, "incorrect": 1})
    write_shard(open_store(tmp_path), 0, 1, [replace(first, row=row, rollouts=lone), *others])
    (columns,) = Library(tmp_path).doubts(0).items
    assert len(columns["doubt"].data) == 5
    assert (columns["doubt_index"].data[0], WHY[columns["why"].data[0]]) == (3, "one against all")
    rules = [(columns["rule"].values or ())[code] for code in columns["rule"].data]
    assert rules == ["number", "number", "", "number", ""], (
        "no rollout of an open question, or of a rejected row, is judged"
    )
    assert columns["doubt"].data[4] == 0, "a rejected row has no verdict to doubt"
