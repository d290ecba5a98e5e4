"""Declarations by name: the catalog with its groups, the sources of other distributions, and what licences ask for.

A distribution brings sources by entry points of the group `mmpr.sources`:

    [project.entry-points."mmpr.sources"]
    riddles = "my_package:riddles"

`riddles()` gives the path of a declaration (a YAML file), or an iterable as `PythonSource.from_iterable` takes.
The distribution and its version are part of the identity of what is built from it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration, load_declaration
from mmpr_pipeline.sources.python_source import PythonSource

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


CATALOG = Path(__file__).parents[1] / "catalog"
YAML = (".yaml", ".yml")
"""File endings of a declaration: a text with one of them is a path, any other is a name."""


def catalog_names() -> list[str]:
    """Names of the sources in the catalog."""
    return sorted(path.stem for path in CATALOG.glob("*.yaml"))


@cache
def source_groups() -> dict[str, tuple[str, ...]]:
    """The groups of the catalog and the sources in each, both by name."""
    found: dict[str, list[str]] = {}
    for name in catalog_names():
        for group in load_declaration(CATALOG / f"{name}.yaml").groups:
            found.setdefault(group, []).append(name)
    return {group: tuple(found[group]) for group in sorted(found)}


def expand(names: Iterable[str]) -> list[str]:
    """The names with groups and folders of declarations replaced by their sources, each once, where it first stands.

    Paths, names of sources, and what is neither, stay as they are: `open_source` says what is wrong with a name.
    """
    expanded: list[str] = []
    for name in names:
        if name in catalog_names():
            expanded.append(name)
        elif declared := declarations_in(name):
            expanded += declared
        elif Path(name).suffix.lower() in YAML or Path(name).name != name:
            expanded.append(name)
        else:  # the groups come last: they cost a read of the whole catalog
            expanded += source_groups().get(name, (name,))
    return list(dict.fromkeys(expanded))


def declarations_in(name: str) -> list[str]:
    """The declarations that lie in a folder, by name; none where it is none, or is called what the catalog knows."""
    folder = Path(name)
    if not folder.is_dir() or name in catalog_names() or name in source_groups():
        return []
    return [str(path) for path in sorted(folder.glob("*.yaml"))]


def find_declaration(name_or_path: str) -> tuple[SourceDeclaration, Path]:
    """The declaration of a name in the catalog, of a distribution's source or of a YAML file, and the file.

    Raises ConfigError.
    """
    path = Path(name_or_path)
    if path.suffix.lower() not in YAML and path.name == name_or_path:
        path = CATALOG / f"{name_or_path}.yaml"
        if not path.is_file() and name_or_path in SOURCES.names():
            path = declaration_of(name_or_path)
        elif not path.is_file() and name_or_path in source_groups():
            raise ConfigError(
                f"{name_or_path!r} is a group of sources, not one of them.",
                remedy=f"Name one of {', '.join(source_groups()[name_or_path])}.",
            )
        elif not path.is_file():
            known = [*catalog_names(), *SOURCES.names(), *source_groups()]
            close = difflib.get_close_matches(name_or_path, known, n=3)
            hint = f"Did you mean {' or '.join(close)}? " if close else ""
            raise ConfigError(
                f"Unknown source {name_or_path!r}: it is not in the catalog.",
                remedy=f"{hint}`mmpr sources list` shows all {len(catalog_names())} sources and the groups; a file of "
                "your own is given by its path (NAME.yaml).",
            )
    return load_declaration(path), path


_HUB_NAMES = {
    "mit": "mit",
    "apache-2.0": "apache-2.0",
    "gpl-3.0": "gpl-3.0",
    "bsd-3-clause": "bsd-3-clause",
    "cc0-1.0": "cc0-1.0",
    "cc0 1.0": "cc0-1.0",
    "cc by 4.0": "cc-by-4.0",
    "cc by-sa 4.0": "cc-by-sa-4.0",
    "cc by-sa 3.0": "cc-by-sa-3.0",
    "cc by-nc 4.0": "cc-by-nc-4.0",
    "cc by-nc-sa 4.0": "cc-by-nc-sa-4.0",
    "cc by-nd 4.0": "cc-by-nd-4.0",
    "cc by-nc-nd 4.0": "cc-by-nc-nd-4.0",
}

_CONCERNS = [
    (r"no[- ]?deriv|\bND\b|-nd\b", "forbids derived works, and a preference dataset is one"),
    (r"no(?:t for)? re-?distribution|may not be (?:re-?distributed|passed on)", "forbids passing the data on"),
    (r"registration|agreement|\bEULA\b|on request", "is given after registration or by agreement only"),
    (r"non-?commercial|\bNC\b|-nc\b", "allows no commercial use"),
    (r"research|education", "limits use to research or education"),
    (r"\bGPL\b|\bGPL-|share-?alike|\bSA\b|-sa\b", "asks that what is made of it carries the same licence"),
    (r"own terms|terms of (?:its|their) own|data set's own", "refers to terms that are to be read where the data is"),
    (r"^\s*(?:unknown)?\s*$|none stated", "is not known: whether the data may be passed on must be asked"),
]


def concerns(licence: str) -> list[str]:
    """What speaks against passing on, without further thought, what is made of data under this licence."""
    return [concern for pattern, concern in _CONCERNS if re.search(pattern, licence, re.IGNORECASE)]


def warnings_of(sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each reason why data made of these sources (`name`, `role`, `licence`) may not be published or
    trained on just so."""
    found = []
    for source in sources:
        name, licence = source["name"], str(source.get("licence") or "unknown")
        found += evaluation_warnings([source])
        if reasons := concerns(licence):
            found.append(f"The licence of {name} ({licence}) {'; it '.join(reasons)}.")
    return found


def evaluation_warnings(sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each source that is an evaluation set."""
    return [
        f"{source['name']} is an evaluation set: training on pairs made of it makes every later result on it "
        "worthless, and publishing them spreads its questions and answers."
        for source in sources
        if source.get("role") == "evaluation"
    ]


def hub_licence(licences: Sequence[str]) -> str:
    """The Hub's name of the licence that all sources have; `other` where they differ or the Hub has no name for it."""
    names = {_HUB_NAMES.get(licence.strip().lower(), "other") for licence in licences}
    return names.pop() if len(names) == 1 else "other"
