"""A finished dataset in the form that another trainer or loader reads."""

from mmpr_pipeline.dataset.export.run import FORMATS, Exported, export, export_table

__all__ = ["FORMATS", "Exported", "export", "export_table"]
