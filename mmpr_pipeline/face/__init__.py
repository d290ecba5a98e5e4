"""The Python face: what the command line does, as functions, for notebooks and other programs.

`mmpr_pipeline` itself offers these names; see docs/python.md.
"""
