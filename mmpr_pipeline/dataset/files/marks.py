"""Marks: what a person says of a rollout against the checker, kept in `OUT/marks.jsonl` and honoured on re-pairing.

One JSON object a line, appended, the last one for a rollout counts:
`{"question_id": "9e48...", "index": 3, "outcome": "incorrect", "note": "reads the wrong bar"}`. The outcome is
`correct`, `incorrect`, `ignore` (use the rollout in no pair) or `clear` (take an earlier mark back).
"""

from __future__ import annotations

import json
import os
from threading import Lock
from typing import Literal, get_args

from pydantic import Field, ValidationError

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import Record
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.storage import MissingKeyError, Store
from mmpr_pipeline.storage.local import LocalStore

MarkedOutcome = Literal["correct", "incorrect", "ignore"]
MARKED_OUTCOMES: tuple[str, ...] = get_args(MarkedOutcome)
MOST_NOTE_CHARS = 1000

_appending = Lock()


class Mark(Record):
    """One line of the file."""

    question_id: str = Field(min_length=1, max_length=64, description="The question answered.")
    index: int = Field(ge=0, description="Number of the rollout within its question.")
    outcome: MarkedOutcome | Literal["clear"] = Field(description="What the rollout is; `clear` takes a mark back.")
    note: str = Field(default="", max_length=MOST_NOTE_CHARS, description="Why, in the person's words.")


def marks_of(store: Store) -> dict[tuple[str, int], Mark]:
    """The marks that count, by question id and rollout index; empty where there is no file.

    A last line torn by a crash is passed over. Raises DatasetError where any other line is no mark: a verdict that a
    person gave must not be lost silently.
    """
    try:
        raw = store.read(layout.MARKS)
    except MissingKeyError:
        return {}
    found: dict[tuple[str, int], Mark] = {}
    lines = raw.decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            mark = Mark.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines):
                continue
            raise DatasetError(
                f"{layout.MARKS}, line {number}, is no mark: {error.errors()[0]['msg']}",
                remedy="Correct or remove that line.",
            ) from None
        if mark.outcome == "clear":
            found.pop((mark.question_id, mark.index), None)
        else:
            found[mark.question_id, mark.index] = mark
    return found


def read_marks(store: Store) -> dict[tuple[str, int], MarkedOutcome]:
    """(question id, rollout index) -> `correct`, `incorrect` or `ignore`. Raises as `marks_of`."""
    return {key: mark.outcome for key, mark in marks_of(store).items() if mark.outcome != "clear"}


def append_mark(store: Store, mark: Mark) -> None:
    """Add one line: durable when this returns. On S3 the file is written anew, so one writer at a time.

    Raises StoreError where the store cannot be written.
    """
    line = json.dumps(mark.model_dump(), ensure_ascii=True, sort_keys=True).encode() + b"\n"
    with _appending:
        try:
            before = store.read(layout.MARKS)
        except MissingKeyError:
            before = b""
        whole = before[: before.rfind(b"\n") + 1]  # without a line that a crash has torn
        if not isinstance(store, LocalStore) or not before or whole != before:
            store.write(layout.MARKS, whole + line)
            return
        descriptor = os.open(store.path(layout.MARKS), os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
