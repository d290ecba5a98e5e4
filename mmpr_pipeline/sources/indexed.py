"""What the driver keeps of a source and hands to every shard: small, and plain JSON data."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mmpr_pipeline.core.records import Record
from mmpr_pipeline.sources.row_formats import Format


@dataclass(frozen=True)
class RowPlace:
    """Where a question stands: the number of its row, and its own within it, from 1, where rows hold several."""

    row: int
    entry: int = 0

    @property
    def name(self) -> str:
        """What a question without an id is called."""
        return f"row {self.row}#{self.entry}" if self.entry else f"row {self.row}"


class IndexedFile(Record):
    """One file of a source, as the index knows it."""

    name: str = Field(description="Path below the source's root, or in the Hub repository; or an address in a zip.")
    format: Format | None = Field(description="Format; null for generated rows.")
    size: int = Field(description="Size in bytes.")
    digest: str = Field(description="Identity of the contents: of a local file's two ends; empty on the Hub.")
    rows: int = Field(description="Rows; where rows hold several questions, the questions.")
    lines: int = Field(default=0, description="Rows, where they hold several questions; else 0.")
    marks: tuple[tuple[int, int], ...] = Field(description="Some rows' numbers and where the format finds them.")
    within: tuple[tuple[str, int], ...] = Field(
        default=(), description="The files that it lies in and their sizes, where it is no file of its own."
    )
    places: tuple[tuple[int, int], ...] = Field(
        default=(), description="Where rows hold several questions: some questions' numbers and those of their rows."
    )


class IndexedArchive(Record):
    """One archive of images, as the index knows it."""

    name: str = Field(description="Path below the source's root, or in the Hub repository.")
    size: int = Field(description="Size in bytes.")
    digest: str = Field(description="Identity of the contents: of a local file's two ends; empty on the Hub.")
    within: tuple[tuple[str, int], ...] = Field(
        default=(), description="The files that it lies in and their sizes, where it is no file of its own."
    )


class SourceIndex(Record):
    """What a shard needs to know of a source to read its slice; small, and plain JSON data."""

    rows: int = Field(description="Rows (or questions, where rows hold several), unreadable ones included.")
    fingerprint: str = Field(description="Content id of the declaration and the files; no path or time goes into it.")
    revision: str | None = Field(default=None, description="Commit of a Hub data set.")
    files: tuple[IndexedFile, ...] = Field(description="The files, in reading order.")
    duplicates: tuple[int, ...] = Field(default=(), description="Numbers of rows whose id an earlier row has.")
    archives: tuple[IndexedArchive, ...] = Field(default=(), description="The archives that hold the images.")
    joined: IndexedArchive | None = Field(default=None, description="The file that holds further columns of the rows.")


def with_struct_columns(names: list[str]) -> list[str]:
    """The names, and for each `a.b` also `a`, the struct that it may be a field of."""
    return list(dict.fromkeys([*names, *(name.partition(".")[0] for name in names if "." in name)]))


def repeated_positions(ids: array[int]) -> list[int]:
    """Positions whose value stands at an earlier position too, ascending; 0 counts for nothing."""
    if not ids:
        return []
    values = np.frombuffer(ids, dtype=np.uint64)
    order = np.argsort(values, kind="stable")
    same = (values[order][1:] == values[order][:-1]) & (values[order][1:] != 0)
    return sorted(int(position) for position in order[1:][same])
