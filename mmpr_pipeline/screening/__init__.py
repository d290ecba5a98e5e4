"""Screening: which rows of the sources are duplicates, which an evaluation set has too, which the mixture takes."""

SCREENING = "mmpr-screening@1"
"""Name and version of the rules; another version may decide otherwise."""

FOLDER = "screening/"
"""Where an output keeps what was decided."""

STATUS = f"{FOLDER}status.arrow"
"""One byte for each row of each source."""

DROPPED = f"{FOLDER}dropped.arrow"
"""The dropped rows, and why."""

REPORT = f"{FOLDER}report.json"
"""Counts, and the hashes of the other two; written last."""
