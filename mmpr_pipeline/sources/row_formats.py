"""The formats of row files by name: the package's own, and those of distributions (entry points `mmpr.row_formats`).

    [project.entry-points."mmpr.row_formats"]
    toml = "my_package.toml_rows"

The entry point names a module or an object that is a `files.formats.RowFormat`. Its attribute `extensions`, as
`(".toml",)`, is optional: files with them need no `format:` in a declaration.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.registry import Registry

NAMES = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "tar")

ROW_FORMATS: Registry[Any] = Registry(
    "mmpr.row_formats", "row format", {name: f"mmpr_pipeline.sources.files.formats.{name}" for name in NAMES}
)


def _known(name: str) -> str:
    try:
        return ROW_FORMATS.require(name)
    except ConfigError as error:
        raise ValueError(f"{error.message} {error.remedy}") from None


Format = Annotated[str, AfterValidator(_known)]
"""The name of a row format."""
