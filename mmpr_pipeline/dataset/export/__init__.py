"""A finished dataset in the form that another trainer or loader reads."""

from mmpr_pipeline.dataset.export.registry import FORMATS
from mmpr_pipeline.dataset.export.run import Exported, export, render

__all__ = ["FORMATS", "Exported", "export", "render"]
