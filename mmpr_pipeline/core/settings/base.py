"""The base of all settings: typed and frozen, with an identity and readable differences, read from YAML and flags.

Of YAML, whoever wrote it, plain values alone are read. What is wrong with settings or a declaration is said in words of
our own: flag, value, and the nearest right word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.config import JsonDict

from mmpr_pipeline.core.errors import MOST_NAMES, ConfigError, MmprError, nearest
from mmpr_pipeline.core.settings.declared import choices, declared_settings, plain_types

OPERATIONAL: JsonDict = {"operational": True}


class Settings(BaseModel):
    """A group of settings; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


def identity_of(settings: BaseModel) -> dict[str, object]:
    """The settings that are not operational, as plain JSON data."""
    kept: dict[str, object] = {}
    for name, field in type(settings).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("operational"):
            continue
        kept[name] = getattr(settings, name)
    # Groups within by their own identities; tuples to lists: what is read back compares equal.
    found: dict[str, object] = json.loads(json.dumps(kept, default=identity_of))
    return found


def group_of(settings: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A group of settings that were read back as plain JSON data; empty where there is none."""
    group = settings.get(name)
    return group if isinstance(group, Mapping) else {}


def differences(before: Mapping[str, object], after: Mapping[str, object], path: str = "") -> list[str]:
    """Lines `setting: before -> after` for each setting that differs between two identities."""
    lines = []
    for name in sorted({*before, *after}):
        old, new, where = before.get(name), after.get(name), f"{path}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{where}.")
        elif old != new:
            lines.append(f"{where}: {old!r} -> {new!r}")
    return lines


MAX_DEPTH = 64
"""Mappings and lists inside one another; libyaml's C loader overruns its stack at some ten thousand."""

MAX_CHARS = 4_000_000

_BOOL = "tag:yaml.org,2002:bool"
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C, where there is one: the same values as PyYAML's `SafeLoader`."""


class _Loader(_Fast):
    """YAML with the booleans of version 1.2: to version 1.1 `on` is one, here it is the name of a setting, and `no` a
    language."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != _BOOL]
    for first, resolvers in _Fast.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def load_settings(kind: type[S], path: str | Path | None, overrides: Mapping[str, object], command: str) -> S:
    """Settings of any kind, as `load_config`; `command` is the one whose help lists them."""
    data = read_yaml(Path(path)) if path else {}
    for name, value in overrides.items():
        if value is not None:
            group = data
            *groups, last = name.split(".")
            for outer in groups:
                inner = group.setdefault(outer, {})
                if not isinstance(inner, dict):
                    raise ConfigError(
                        f"{path}: {outer} is not a group of settings.", remedy="Write its settings below it, indented."
                    )
                group = inner
            group[last] = value
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            "These settings cannot work:\n    " + "\n    ".join(explain_settings_error(error, kind)),
            remedy=f"Correct them in the config file or by flags; `{command} --help` and docs/settings.md list them.",
        ) from None


def read_yaml(path: Path) -> dict[str, object]:
    """The mapping in a YAML file; raises ConfigError where there is none."""
    try:
        data = load_yaml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the config {path}: {error}", remedy="Give a readable YAML file.") from None
    if not isinstance(data, dict):
        raise ConfigError(f"The config {path} is not a mapping of settings.", remedy="See examples/nano.yaml.")
    return data


def load_yaml(text: str) -> Any:
    """The value of a YAML text by a safe loader. Raises yaml.YAMLError, also for one that is too deep or too long."""
    if len(text) > MAX_CHARS:
        raise yaml.YAMLError(f"it has {len(text):,} characters, at most {MAX_CHARS:,}")
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):  # events come one by one, whatever the depth
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it nests deeper than {MAX_DEPTH} mappings and lists,{event.start_mark}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML raises whatever it meets: `2026-13-99` a ValueError, `!!timestamp x` another
        raise yaml.YAMLError(f"it holds an invalid value: {error}") from None


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
        raised = context.get("error")
        said = f"{raised.message} {raised.remedy}" if isinstance(raised, MmprError) else str(raised or error["msg"])
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
