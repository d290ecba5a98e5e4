"""The catalog: one declaration for each known source, found by name; and a source opened by name or path."""

from __future__ import annotations

import difflib
from pathlib import Path

from mmpr_pipeline.errors import ConfigError
from mmpr_pipeline.sources.declaration import SourceDeclaration, load_declaration
from mmpr_pipeline.sources.source import Source

CATALOG = Path(__file__).parent / "catalog"


def catalog_names() -> list[str]:
    """Names of the sources in the catalog."""
    return sorted(path.stem for path in CATALOG.glob("*.yaml"))


def find_declaration(name_or_path: str) -> tuple[SourceDeclaration, Path]:
    """The declaration of a name in the catalog or of a YAML file, and the file. Raises ConfigError."""
    path = Path(name_or_path)
    if path.suffix.lower() not in (".yaml", ".yml") and path.name == name_or_path:
        path = CATALOG / f"{name_or_path}.yaml"
        if not path.is_file():
            raise _unknown(name_or_path)
    return load_declaration(path), path


def open_source(name_or_path: str, data_root: str | Path | None = None) -> Source:
    """A source by its name in the catalog or the path of its declaration.

    `data_root` is where relative paths of a declaration start; its own folder if not given. Raises ConfigError where
    the declaration cannot be found or cannot work; nothing of the data is looked at yet.
    """
    declaration, path = find_declaration(name_or_path)
    return Source(declaration, Path(data_root or path.parent).resolve())


def _unknown(name: str) -> ConfigError:
    names = catalog_names()
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    return ConfigError(
        f"There is no source {name!r} in the catalog.",
        remedy=f"{hint}The catalog has {', '.join(names)}; or give the path of a declaration (NAME.yaml).",
    )
