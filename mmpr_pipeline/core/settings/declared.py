"""What a setting's field declares: description, default, unit, flag, and whether it is operational.

A field says it in one place:

    shards: int = Field(default=8, description="Shards to write.", json_schema_extra=flag("--shards", "What to ask"))
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ASK = "What to ask"
MODEL = "Model and engine"
SAMPLING = "Sampling"
PAIRS = "Pairs"
SCREENING = "Screening"
TRAINING = "Training"
MEASURED = "What to measure"
RUN = "Where it runs"
PANELS = (ASK, MEASURED, MODEL, TRAINING, SAMPLING, PAIRS, SCREENING, RUN)
"""Panels of the help, in the order in which they are shown."""


def flag(
    name: str, panel: str, *, unit: str | None = None, default: str | None = None, operational: bool = False
) -> JsonDict:
    """What a field says of itself beside its description: its flag and the panel of the help that shows it, its unit,
    and its default in words where the value alone does not tell it."""
    said: JsonDict = {"flag": name, "panel": panel}
    said |= {"unit": unit} if unit else {}
    said |= {"default_text": default} if default else {}
    said |= {"operational": True} if operational else {}
    return said


@dataclass(frozen=True)
class OptionGroups:
    """A note on a field of free options: the settings that are known below some of its names."""

    groups: Mapping[str, type[BaseModel]]


@dataclass(frozen=True)
class Declared:
    """One setting."""

    path: str
    """Its name in a YAML file, groups before a dot: `sampling.samples`."""
    annotation: Any
    description: str
    required: bool
    default: Any
    flag: str | None
    panel: str
    unit: str | None
    default_text: str | None
    operational: bool

    @property
    def shown_default(self) -> str | None:
        """The default as help and pages show it; None where there is none to show."""
        if self.default_text:
            return self.default_text
        if self.required or self.default is None or self.default in ((), {}, ""):
            return None
        return as_text(self.default)


def as_text(value: Any) -> str:
    """A value as a user would type it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def declared_settings(model: type[BaseModel], prefix: str = "", operational: bool = False) -> Iterator[Declared]:
    """Every setting of a model, groups walked into, in the order of the fields."""
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        run_only = operational or bool(extra.get("operational"))
        if group := _group(field):
            yield from declared_settings(group, f"{prefix}{name}.", run_only)
            continue
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        yield Declared(
            path=f"{prefix}{name}",
            annotation=field.annotation,
            description=field.description or "",
            required=field.is_required(),
            default=None if default is PydanticUndefined else default,
            flag=_text(extra.get("flag")),
            panel=_text(extra.get("panel")) or "Options",
            unit=_text(extra.get("unit")),
            default_text=_text(extra.get("default_text")),
            operational=run_only,
        )
        for note in field.metadata:
            for option, known in note.groups.items() if isinstance(note, OptionGroups) else ():
                yield from declared_settings(known, f"{prefix}{name}.{option}.", run_only)


def _text(value: object) -> str | None:
    return str(value) if value else None


def _group(field: FieldInfo) -> type[BaseModel] | None:
    """The settings of which the field is a group; None for a plain value."""
    for part in plain_types(field.annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def plain_types(annotation: Any) -> list[Any]:
    """The types of an annotation without None and without notes."""
    if get_origin(annotation) is Annotated:
        return plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for one in get_args(annotation) for part in plain_types(one)]
    return [] if annotation is type(None) else [annotation]


def choices(annotation: Any) -> list[str]:
    """The values that a setting may take, where they are listed."""
    return [
        str(value)
        for part in plain_types(annotation)
        for inner in ([part] if get_origin(part) is Literal else get_args(part))
        if get_origin(inner) is Literal
        for value in get_args(inner)
    ]
