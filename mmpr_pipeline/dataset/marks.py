"""Verdicts set by hand: OUT/marks.jsonl, one JSON object a line, the last one of a rollout counts.

    {"question_id": "…", "index": 3, "outcome": "incorrect", "note": "misreads the axis"}

`mmpr view` writes them, `mmpr build --from-rollouts` honours them: the outcome takes the place of the checker's, and
`ignore` takes the rollout out of every pair.
"""

from __future__ import annotations

import json
from typing import Any, get_args

from mmpr_pipeline.errors import DatasetError
from mmpr_pipeline.records import Outcome
from mmpr_pipeline.storage import MissingKeyError, Store

KEY = "marks.jsonl"


def read_marks(store: Store) -> dict[tuple[str, int], Outcome]:
    """Outcomes by question id and rollout index. Raises DatasetError at a line that is no mark.

    A torn last line (a viewer killed while writing) is left out.
    """
    try:
        raw = store.read(KEY)
    except MissingKeyError:
        return {}
    whole, _, _ = raw.rpartition(b"\n")
    marks: dict[tuple[str, int], Outcome] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        if line.strip():
            question, index, outcome = _mark(line, number)
            marks[question, index] = outcome
    return marks


def _mark(line: bytes, number: int) -> tuple[str, int, Outcome]:
    try:
        mark: dict[str, Any] = json.loads(line)
        outcome: Any = "unparseable" if mark["outcome"] == "ignore" else mark["outcome"]
        if outcome not in get_args(Outcome):
            raise ValueError(outcome)
        return str(mark["question_id"]), int(mark["index"]), outcome
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{KEY} line {number} is no mark: {error}.", remedy="Mend or remove that line.") from None
