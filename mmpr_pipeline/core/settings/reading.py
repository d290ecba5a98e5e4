"""Settings from a YAML file with flags on top; of YAML, whoever wrote it, plain values alone are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.settings.base import S
from mmpr_pipeline.core.settings.wrong import explain_settings_error

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
