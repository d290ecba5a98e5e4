"""The command `mmpr`: a thin face. One module a group of commands, imported when one of them is used."""

from mmpr_pipeline.cli.app import app, main

__all__ = ["app", "main"]
