"""`mmpr.Source`: a source of questions that Python makes."""

from mmpr_pipeline.sources.python.questions import PythonSource as Source

__all__ = ["Source"]
