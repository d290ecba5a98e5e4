"""The export formats by name: the package's own, and those of distributions (entry points `mmpr.export_formats`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mmpr_pipeline.core.registry import Registry
from mmpr_pipeline.dataset.export.built import Built

PAIR_FORMATS = ("trl", "internvl", "swift", "llamafactory", "nemo-rl", "openrlhf", "webdataset", "parquet")
FORMATS = (*PAIR_FORMATS, "steps", "rl")
"""Those of this package."""


class Format(Protocol):
    """What an export format has: a module, or any object.

    It may also have `UNITS`, the names under which `write` counts what it has written (of one without it: `pairs`), and
    `configured(**options)`, which gives the format with options of its own and raises ConfigError for wrong values.
    """

    def write(self, built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
        """Write the dataset into an empty folder, announcing the number of each finished shard; the counts are what
        was written, and what was left out, by reason."""

    def usage(self, dest: Path) -> str:
        """How the written folder is used, in Markdown."""


EXPORTS: Registry[Format] = Registry(
    "mmpr.export_formats",
    "export format",
    {
        name: f"mmpr_pipeline.dataset.export.{'rl.prompts' if name == 'rl' else 'formats.' + name.replace('-', '_')}"
        for name in FORMATS
    },
)
