"""The export formats by name: the package's own, and those of distributions (entry points `mmpr.export_formats`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.dataset.export.built import Built

FORMATS = ("trl", "internvl", "swift", "llamafactory", "webdataset", "parquet", "rl", "steps")
"""Those of this package."""


class Format(Protocol):
    """What an export format has: a module, or any object."""

    def write(self, built: Built, folder: Path, told: Callable[[int], None]) -> Counter[str]:
        """Write the dataset into an empty folder, telling the number of each finished shard; the counts are `pairs`
        written, and others left out, by reason."""

    def usage(self, dest: Path) -> str:
        """How the written folder is used, in Markdown."""


EXPORTS: Registry[Format] = Registry(
    "mmpr.export_formats", "export format", {name: f"mmpr_pipeline.dataset.export.{name}" for name in FORMATS}
)
