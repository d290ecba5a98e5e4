from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.doubt import WHY, RolloutView, doubt
from mmpr_pipeline.storage.open import open_store
from tests.dataset.conftest import make_outcome, write_shard


def seen(index: int, outcome: str, answer: str | None = "x", rule: str = "number", tail: str = "") -> RolloutView:
    return RolloutView(index, outcome, answer, rule, tokens=100, cut_off=rule == "cut", tail=tail)


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
    ("42", "number", [seen(0, "unparseable", None, tail=TAIL)], 0, "unparseable, yet states the gold"),
    ("4", "number", [seen(0, "incorrect", "4!")], 0, ""),
    ("42", "number", [seen(0, "unparseable", None, tail="it is 420")], 0, ""),
]


@pytest.mark.parametrize(("gold", "kind", "rollouts", "index", "why"), CASES)
def test_the_greatest_doubt_is_named(gold: str, kind: str, rollouts: list[RolloutView], index: int, why: str) -> None:
    worth, which, reason = doubt([gold], kind, rollouts)
    assert (WHY[reason], which if reason else 0) == (why, index)
    assert (worth > 0) == bool(why)
    assert worth < 100


def test_a_lucky_guess_among_choices_is_doubted_less_than_a_lone_wrong_number() -> None:
    lucky = doubt(["B"], "choice", [*(seen(i, "incorrect", f"{i}") for i in range(7)), seen(7, "correct")])
    assert lucky[0] < doubt(["7"], "number", [*RIGHT, seen(8, "incorrect", "99")])[0]


def test_a_shard_has_a_doubt_a_question(tmp_path: Path) -> None:
    first, *others = (make_outcome(n, rollouts=8) for n in range(5))
    judged = {True: {"outcome": "incorrect", "extracted": "5"}, False: {"outcome": "correct", "extracted": "0"}}
    lone = tuple(r.model_copy(update=judged[r.index == 3]) for r in first.rollouts)
    row = first.row.model_copy(update={"correct": 7, "incorrect": 1})
    write_shard(open_store(tmp_path), 0, 1, [replace(first, row=row, rollouts=lone), *others])
    (columns,) = Library(tmp_path).doubts(0).items
    assert len(columns["doubt"].data) == 5
    assert (columns["doubt_index"].data[0], WHY[columns["why"].data[0]]) == (3, "one against all")
    assert columns["doubt"].data[4] == 0, "a rejected row has no verdict to doubt"
