"""The command `mmpr`: a thin face. One module a group of commands; importing it imports nothing heavy."""

from mmpr_pipeline.cli import build, check, dataset, engines, evaluation, iterate, sources, study, training
from mmpr_pipeline.cli.app import app, main

__all__ = [
    "app", "build", "check", "dataset", "engines", "evaluation", "iterate", "main", "sources", "study", "training",
]  # fmt: skip
