"""The catalog: a declaration for each known source, found by name or by group; a source opened by name or path."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration, load_declaration
from mmpr_pipeline.sources.registry import SOURCES, declaration_of

CATALOG = Path(__file__).parents[1] / "catalog"


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
        else:  # the groups come last: they cost a read of the whole catalog
            expanded += [name] if _is_path(name) else source_groups().get(name, (name,))
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
    if not _is_path(name_or_path):
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


def _is_path(name: str) -> bool:
    return Path(name).suffix.lower() in (".yaml", ".yml") or Path(name).name != name
