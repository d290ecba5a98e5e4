"""YAML as people write it, whoever wrote it: plain values only, and not nested so deep that a parser dies of it."""

from __future__ import annotations

import re
from typing import Any

import yaml

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
