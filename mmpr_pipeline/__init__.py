"""mmpr: multimodal preference data at scale (MMPR), and training on it (MPO; arXiv 2411.10442).

`mmpr_pipeline.load(OUT)` gives a built dataset as a `datasets.Dataset`. Importing the package imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

from mmpr_pipeline.core.version import __version__

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from mmpr_pipeline.dataset.files.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
