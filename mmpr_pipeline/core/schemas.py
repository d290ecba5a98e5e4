"""The Arrow schemas of the records, and the rows of such files as plain data.

Each field's description travels with its column as metadata. A row is what `to_pylist` gives of a table: a dictionary
with one entry a column. It is read from a file and never checked again, as the file's schema was; what a column means
is said in `core.records`.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.machinery import ModuleSpec
from typing import Annotated, Literal, TypedDict, Union, get_args, get_origin

import pyarrow as pa

from mmpr_pipeline.core.records import (
    SCHEMA_VERSION,
    AnswerKind,
    CheckedRollout,
    FinishReason,
    Image,
    Language,
    Outcome,
    PreferencePair,
    QuestionRow,
    Record,
)

_ARROW: dict[object, pa.DataType] = {
    str: pa.string(),
    bytes: pa.binary(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def _arrow_type(annotation: object) -> tuple[pa.DataType, bool]:
    """Arrow type of a Python annotation, and whether it may be null."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _arrow_type(args[0])
    if origin is Literal:
        return pa.string(), False
    if origin is tuple:
        return pa.list_(pa.field("item", _arrow_type(args[0])[0], nullable=False)), False
    if origin is Union or type(None) in args:
        inner = next(a for a in args if a is not type(None))
        return _arrow_type(inner)[0], True
    return _ARROW[annotation], False


def arrow_schema(record: type[Record]) -> pa.Schema:
    """Arrow schema of a record, one column a field, descriptions in each field's metadata."""
    fields = []
    for name, info in record.model_fields.items():
        kind, nullable = _arrow_type(info.annotation)
        metadata = {"description": info.description or ""}
        fields.append(pa.field(name, kind, nullable=nullable, metadata=metadata))
    return pa.schema(fields, metadata={"record": record.__name__, "schema_version": SCHEMA_VERSION})


PAIR_SCHEMA = arrow_schema(PreferencePair)


IMAGE_SCHEMA = arrow_schema(Image)


ROLLOUT_SCHEMA = arrow_schema(CheckedRollout)


QUESTION_SCHEMA = arrow_schema(QuestionRow)


class PairFields(TypedDict):
    """A row of a pairs file."""

    pair_id: str
    question_id: str
    source: str
    source_id: str
    strategy: str
    question: str
    prompt: str
    images: list[str]
    chosen: str
    rejected: str
    answer: str | None
    chosen_answer: str | None
    rejected_answer: str | None
    chosen_tokens: int
    rejected_tokens: int
    prompt_tokens: int
    chosen_index: int
    rejected_index: int
    chosen_rule: str
    rejected_rule: str
    shared_chars: int
    kind: AnswerKind
    language: Language
    model: str
    rejected_model: str
    prompt_version: str
    checker: str
    seed: int
    rejected_seed: int


class RolloutFields(TypedDict):
    """A row of a rollouts file."""

    question_id: str
    round: int
    index: int
    seed: int
    text: str
    tokens: int
    prompt_tokens: int
    finish_reason: FinishReason
    model: str
    prompt_version: str
    parent: int | None
    prefix_chars: int
    source: str
    source_id: str
    outcome: Outcome | None
    extracted: str | None
    rule: str | None
    checker: str | None


class QuestionFields(TypedDict):
    """A row of a questions file."""

    source: str
    source_id: str
    question_id: str | None
    status: Literal["paired", "unpaired", "rejected"]
    reason: str | None
    detail: str
    pairs: int
    rollouts: int
    correct: int
    incorrect: int
    unparseable: int
    rounds: int
    generated_tokens: int
    text: str
    prompt: str
    choices: list[str]
    images: list[str]
    kind: AnswerKind
    answer: str | None
    answers: list[str]
    unit: str | None
    precision: float | None
    language: Language
    tiles: int
    instruction: str


class _Absent:
    """A finder for which pandas is not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)
        return None


@cache
def leave_pandas_out() -> None:
    """Make pyarrow's first array without pandas, which pyarrow imports with it otherwise, for 0.4 s in each process.

    `to_pandas` and `from_pandas` import it still. Only `pyarrow.array` of a pandas series differs until then: it keeps
    NaN as a number instead of null. So no process of a user's own Python calls this.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _Absent)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_Absent)
