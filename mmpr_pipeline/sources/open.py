"""From a name or a path to a source."""

from __future__ import annotations

from pathlib import Path

from mmpr_pipeline.sources.declaration.catalog import find_declaration
from mmpr_pipeline.sources.source import Source


def open_source(name_or_path: str, data_root: str | Path | None = None) -> Source:
    """A source by its name in the catalog or the path of its declaration.

    `data_root` is where relative paths of a declaration start; its own folder if not given. Raises ConfigError where
    the declaration cannot be found or cannot work; nothing of the data is looked at yet.
    """
    declaration, path = find_declaration(name_or_path)
    return Source(declaration, Path(data_root or path.parent).resolve())
