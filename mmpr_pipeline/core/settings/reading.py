"""Settings from a YAML file with flags on top."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.settings.base import S
from mmpr_pipeline.core.settings.wrong import explain_settings_error
from mmpr_pipeline.core.settings.yaml_text import load_yaml


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
