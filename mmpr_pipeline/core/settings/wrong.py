"""What is wrong with settings or a declaration, in words of our own: flag, value, and the nearest right word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from mmpr_pipeline.core.errors import MOST_NAMES, nearest
from mmpr_pipeline.core.settings.declared import choices, declared_settings, plain_types

_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}


def explain_settings_error(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for each setting that is wrong, each one once."""
    declared = list(declared_settings(model))
    flags = {each.path: each.flag for each in declared if each.flag}
    derived = {each.path for each in declared if each.required and each.default_text}
    lines: dict[str, str] = {}
    for each in error.errors(include_url=False):
        found = [str(part) for part in each["loc"]]
        # The part of a location that names fields, as a user wrote them, and the fields beside the last one.
        path: list[str] = []
        at: type[BaseModel] | None = model
        fields = list(model.model_fields)
        for part in found:
            if at is None:
                break
            fields = list(at.model_fields)
            path.append(part)
            field = at.model_fields.get(part)
            at = None
            if field is not None:
                groups = [p for p in plain_types(field.annotation) if isinstance(p, type) and issubclass(p, BaseModel)]
                at = groups[0] if len(groups) == 1 and len(plain_types(field.annotation)) == 1 else None
        dotted = ".".join(path)
        if each["type"] == "missing" and dotted in derived:  # it follows from what else is missing or wrong
            continue
        lines.setdefault(dotted or each["msg"], _line(each, path, fields, model, flags))
    return list(lines.values())


def _line(error: Any, path: Sequence[str], fields: Sequence[str], model: type[BaseModel], flags: dict[str, str]) -> str:
    kind, value, context = error["type"], error.get("input"), error.get("ctx", {})
    dotted = ".".join(path)
    flag = flags.get(dotted, "").partition("/")[0]
    name = dotted if not flag else flag if flag == f"--{dotted}" else f"{flag} ({dotted})"
    if kind == "value_error":
        said = str(context.get("error", error["msg"]))
        return f"{name}: {said}" if name else said
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        return f"{name}: there is no such setting{nearest(path[-1], fields)}"
    annotation = _annotation(model, path)
    if listed := choices(annotation):
        near = nearest(str(value), listed, listing=False)
        return f"{name}: {value!r} is none of {', '.join(listed[:MOST_NAMES])}{near}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{name}: {value!r} must be {words} {context.get(key)}"
    if kind == "too_short":
        return f"{name} is empty"
    if kind == "string_pattern_mismatch":
        return f"{name}: {value!r} is not written as {context.get('pattern')}"
    wanted = next((text for start, text in _TYPES.items() if kind.startswith(start)), None)
    return f"{name}: {value!r} is not {wanted}" if wanted else f"{name}: {value!r} cannot be used"


def _annotation(model: type[BaseModel], path: Sequence[str]) -> Any:
    at: Any = model
    for part in path:
        groups = [p for p in plain_types(at) if isinstance(p, type) and issubclass(p, BaseModel)] or [at]
        field = getattr(groups[0], "model_fields", {}).get(part)
        if field is None:
            return None
        at = field.annotation
    return at
