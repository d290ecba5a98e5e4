"""The Arrow schemas of the records; each field's description travels with it as metadata."""

from __future__ import annotations

from typing import Annotated, Literal, Union, get_args, get_origin

import pyarrow as pa

from mmpr_pipeline.core.records import SCHEMA_VERSION, CheckedRollout, Image, PreferencePair, QuestionRow, Record

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
