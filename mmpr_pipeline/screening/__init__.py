"""Screening: which rows of the sources are duplicates, which an evaluation set has too, which the mixture takes."""

SCREENING = "mmpr-screening@1"
"""Name and version of the rules; another version may decide otherwise."""

FOLDER = "screening/"
"""Where an output keeps what was decided."""
