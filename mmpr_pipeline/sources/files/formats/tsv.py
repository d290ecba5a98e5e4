"""Tables of text with tabs between cells: see `csv`."""

from __future__ import annotations

from collections.abc import Iterator

from mmpr_pipeline.sources.files.formats import Mark, Row, Scan, SourceFile, csv

DELIMITER = "\t"


def scan(file: SourceFile, scan: Scan) -> None:
    """See RowFormat."""
    csv.scan(file, scan, DELIMITER)


def read(file: SourceFile, marks: tuple[Mark, ...], start: int, stop: int, columns: list[str] | None) -> Iterator[Row]:
    """See RowFormat."""
    return csv.read(file, marks, start, stop, columns, DELIMITER)
