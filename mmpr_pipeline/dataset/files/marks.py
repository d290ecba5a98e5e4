"""Marks: what people say of rollouts against the checker, kept in `OUT/marks.jsonl` and honoured on re-pairing.

One JSON object a line, appended; a person's last one for a rollout counts:
`{"question_id": "9e48...", "index": 3, "outcome": "incorrect", "note": "reads the wrong bar", "by": "ana"}`. The
outcome is `correct`, `incorrect`, `ignore` (use the rollout in no pair) or `clear` (take one's earlier mark back).
Where several people marked a rollout, what most of them say counts; where they are split, it is `ignore`: a doubtful
verdict makes no pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock
from typing import Literal, get_args

from pydantic import Field, ValidationError

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import checked_fields, checked_line, is_checked
from mmpr_pipeline.core.records import Record
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.storage.store import MissingKeyError, Store

MarkedOutcome = Literal["correct", "incorrect", "ignore"]
MARKED_OUTCOMES: tuple[str, ...] = get_args(MarkedOutcome)
MOST_NOTE_CHARS = 1000
Key = tuple[str, int]
"""A rollout: question id and index."""

_appending = Lock()


class Mark(Record):
    """One line of the file."""

    question_id: str = Field(min_length=1, max_length=64, description="The question answered.")
    index: int = Field(ge=0, description="Number of the rollout within its question.")
    outcome: MarkedOutcome | Literal["clear"] = Field(description="What the rollout is; `clear` takes a mark back.")
    note: str = Field(default="", max_length=MOST_NOTE_CHARS, description="Why, in the person's words.")
    by: str = Field(default="", max_length=60, description="Who says so; empty where only one person marks.")
    drawn: Literal["", "sample", "queue"] = Field(
        default="", description="How the rollout came before the person: at random, as doubtful, or (empty) otherwise."
    )
    judged: Literal["", "correct", "incorrect", "unparseable"] = Field(
        default="", description="The checker's verdict that the person saw."
    )
    rule: str = Field(default="", max_length=60, description="The checker's rule that had decided.")


class Marks:
    """The marks that count: of each person the last one on a rollout. Not for several threads at once."""

    def __init__(self) -> None:
        self._on: dict[str, dict[int, dict[str, Mark]]] = {}

    def __len__(self) -> int:
        """Marked rollouts."""
        return sum(len(rollouts) for rollouts in self._on.values())

    def __iter__(self) -> Iterator[Mark]:
        """Every mark that counts."""
        return (mark for rollouts in self._on.values() for people in rollouts.values() for mark in people.values())

    def add(self, mark: Mark) -> None:
        """Take in the next line."""
        people = self._on.setdefault(mark.question_id, {}).setdefault(mark.index, {})
        people.pop(mark.by, None)
        if mark.outcome != "clear":
            people[mark.by] = mark
        if not people:
            del self._on[mark.question_id][mark.index]
        if not self._on[mark.question_id]:
            del self._on[mark.question_id]

    def on(self, question_id: str) -> dict[int, list[Mark]]:
        """Marks on the rollouts of a question, by index."""
        return {index: list(people.values()) for index, people in self._on.get(question_id, {}).items()}

    def merged(self) -> dict[Key, Mark]:
        """One mark a rollout: what most people say, else `ignore`."""
        found = {}
        for name, rollouts in self._on.items():
            for index, people in rollouts.items():
                votes = Counter(mark.outcome for mark in people.values()).most_common()
                last = list(people.values())[-1]
                split = len(votes) > 1 and votes[0][1] == votes[1][1]
                outcome = "ignore" if split else votes[0][0]
                agreeing = [mark for mark in people.values() if mark.outcome == outcome]
                found[name, index] = agreeing[-1] if agreeing else last.model_copy(update={"outcome": outcome})
        return found


def read_all(store: Store) -> Marks:
    """Everybody's marks; none where there is no file.

    A last line torn by a crash is passed over. Raises DatasetError where any other line is not a valid mark: a verdict
    that a person gave must not be lost silently.
    """
    try:
        raw = store.read(layout.MARKS)
    except MissingKeyError:
        return Marks()
    return parse_marks(raw, layout.MARKS)


def parse_marks(raw: bytes, name: str) -> Marks:
    """The marks of a file's bytes; `name` is the file's in errors. Raises as `read_all`."""
    found = Marks()
    *lines, last = raw.split(b"\n")
    if is_checked(last) or is_checked(last[:-1]):  # not torn: its newline is damaged
        lines.append(last)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.add(Mark.model_validate(checked_fields(line)))
        except ValueError as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise DatasetError(
                f"{name}, line {number}, is not a valid mark: {why}.",
                remedy="Correct or remove that line. If a person wrote it, remove its `check` too.",
            ) from None
    if last not in lines:
        with suppress(ValueError):  # without a newline, by hand; else torn by a crash
            found.add(Mark.model_validate(checked_fields(last)))
    return found


def marks_of(store: Store) -> dict[Key, Mark]:
    """One mark a rollout, by question id and rollout index, people's merged. Raises as `read_all`."""
    return read_all(store).merged()


def read_marks(store: Store) -> dict[Key, MarkedOutcome]:
    """(question id, rollout index) -> `correct`, `incorrect` or `ignore`. Raises as `read_all`."""
    return {key: mark.outcome for key, mark in marks_of(store).items() if mark.outcome != "clear"}


def add_marks(store: Store, raw: bytes, name: str) -> int:
    """Take in another file of marks, such as one saved from a static viewer; returns the marks that are new here.

    Marks that are known already are left out, so that taking in a file twice changes nothing. Raises as `read_all`.
    """
    known = set(read_all(store))
    fresh = [mark for mark in parse_marks(raw, name) if mark not in known]
    for mark in fresh:
        append_mark(store, mark)
    return len(fresh)


def append_mark(store: Store, mark: Mark) -> None:
    """Add one line with its checksum: durable when this returns. On S3 the file is written anew, so one writer at a
    time. Raises StoreError where the store cannot be written.
    """
    fields = mark.model_dump(exclude_defaults=True)
    with _appending:
        store.append(layout.MARKS, checked_line(dict(sorted(fields.items()))))
