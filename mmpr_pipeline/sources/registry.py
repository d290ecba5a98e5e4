"""Sources that other installed distributions bring, by name: entry points of the group `mmpr.sources`.

    [project.entry-points."mmpr.sources"]
    riddles = "my_package:riddles"

`riddles()` gives the path of a declaration (a YAML file), or an iterable as `PythonSource.from_iterable` takes.
The distribution and its version are part of the identity of what is built from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.sources.python.questions import PythonSource

Made = str | Path | Iterable[Question | Mapping[str, Any]]

SOURCES: Registry[Callable[[], Made]] = Registry("mmpr.sources", "source", {})


@cache
def declaration_of(name: str) -> Path:
    """The declaration of a distribution's source; an iterable is written into the cache folder, once a process.

    Raises ConfigError where there is none of that name, or where its function fails.
    """
    make = SOURCES.get(name)
    try:
        made = make()
        return Path(made) if isinstance(made, str | Path) else PythonSource.from_iterable(name, made).declaration
    except ConfigError:
        raise
    except Exception as error:  # whatever a third party's function raises
        origin = SOURCES.origins([name])[name]
        raise ConfigError(
            f"The source {name!r} of {origin} cannot be made: {type(error).__name__}: {error}",
            remedy="Ask its authors, or leave it out of --sources.",
        ) from error
