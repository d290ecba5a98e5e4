"""Where questions come from: declarations, readers of every format, checked images, and the catalog."""

from mmpr_pipeline.sources.indexed import SourceIndex
from mmpr_pipeline.sources.source import Source, open_source

__all__ = ["Source", "SourceIndex", "open_source"]
