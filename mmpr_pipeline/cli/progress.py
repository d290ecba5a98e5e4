"""The bar of a command, as a context manager."""

from __future__ import annotations

from rich.console import Console

from mmpr_pipeline.core.progress.bar import ProgressBar


def shown(console: Console) -> ProgressBar:
    """A bar on a terminal; elsewhere these commands say what they did, and not how far they are."""
    return ProgressBar(console, plain=False)
