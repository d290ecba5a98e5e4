"""`mmpr.Source`: a source of questions that Python makes."""

from mmpr_pipeline.sources.python_source import PythonSource as Source

__all__ = ["Source"]
