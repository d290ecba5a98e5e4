"""The base of all settings: typed, from YAML and flags, with an identity and readable differences."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.config import JsonDict

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.yaml_text import load_yaml

OPERATIONAL: JsonDict = {"operational": True}


class Settings(BaseModel):
    """A group of settings; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


def identity_of(settings: BaseModel) -> dict[str, Any]:
    """The settings that are not operational, as plain JSON data."""
    kept: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("operational"):
            continue
        value = getattr(settings, name)
        kept[name] = _plain(value)
    found: dict[str, Any] = json.loads(json.dumps(kept))  # tuples to lists: what is read back compares equal
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return identity_of(value) if isinstance(value, BaseModel) else value


def differences(before: dict[str, Any], after: dict[str, Any], path: str = "") -> list[str]:
    """Lines `setting: before -> after` for each setting that differs between two identities."""
    lines = []
    for name in sorted({*before, *after}):
        old, new, where = before.get(name), after.get(name), f"{path}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{where}.")
        elif old != new:
            lines.append(f"{where}: {old!r} -> {new!r}")
    return lines


def load_settings(kind: type[S], path: str | Path | None, overrides: dict[str, Any], command: str) -> S:
    """Settings of any kind, as `load_config`; `command` is the one whose help lists them."""
    data = read_yaml(Path(path)) if path else {}
    for name, value in overrides.items():
        if value is not None:
            _set(data, name.split("."), value)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(
            "These settings cannot work:\n    " + "\n    ".join(lines),
            remedy=f"Correct them in the config file or by flags; `{command} --help` lists them.",
        ) from None


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2: to version 1.1 `on` is one, here it is the name of a setting."""


_BOOL = "tag:yaml.org,2002:bool"


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises ConfigError where there is none."""
    try:
        data = load_yaml(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the config {path}: {error}", remedy="Give a readable YAML file.") from None
    if not isinstance(data, dict):
        raise ConfigError(f"The config {path} is not a mapping of settings.", remedy="See examples/build.yaml.")
    return data


def _set(data: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        data = data.setdefault(name, {})
    data[path[-1]] = value
