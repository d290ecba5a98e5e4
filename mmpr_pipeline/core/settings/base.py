"""The base of all settings: typed and frozen, with an identity and readable differences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

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
        value = getattr(settings, name)
        kept[name] = _plain(value)
    found: dict[str, object] = json.loads(json.dumps(kept))  # tuples to lists: what is read back compares equal
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return identity_of(value) if isinstance(value, BaseModel) else value


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
