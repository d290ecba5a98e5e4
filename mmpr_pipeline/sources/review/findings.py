"""What a check of a source found, and the sentences that say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from mmpr_pipeline.core.masking import steering_nothing
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources.files.formats import csv as table
from mmpr_pipeline.sources.files.formats import format_of, local_files, tsv
from mmpr_pipeline.sources.source import Source

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something wrong: its fixed name, what it means, and where it was seen, as (row, what was seen)."""

    name: str
    level: Level
    text: str
    rows: tuple[tuple[int, str], ...]


@dataclass
class Checked:
    """What was looked at, and what is wrong with it. `items` has the number of each row before it."""

    source: Source
    total: int
    items: list[tuple[int, Question | Reject]] = field(default_factory=list)
    accepted: int = 0
    answered: int = 0
    refused: int = 0
    foreign: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def questions(self) -> list[tuple[int, Question]]:
        """The rows that are questions."""
        return [(row, item) for row, item in self.items if isinstance(item, Question)]

    @property
    def rejects(self) -> list[tuple[int, Reject]]:
        """The rows that are not."""
        return [(row, item) for row, item in self.items if isinstance(item, Reject)]

    @property
    def serious(self) -> bool:
        """Whether something is so wrong that a build would be wasted."""
        return any(finding.level == "error" for finding in self.findings)

    def found(self, name: str, text: str, rows: Sequence[tuple[int, str]], serious: bool = False) -> None:
        """Note something wrong, if it was seen at all."""
        if rows:
            self.findings.append(Finding(name, "error" if serious else "warning", text, tuple(rows)))


MOST_BYTES = 256 << 20
"""Larger files are not read again only to say where a row stands."""

_SAID = {
    "empty_question": "`{}` is empty",
    "no_answer": "`{}` is empty or missing",
    "missing_column": "there is no column {}",
    "torn_line": "the row is torn: {}",
    "missing_image": "the image is missing: {}",
    "broken_image": "the image cannot be read: {}",
    "repeated_question": "the same question, {}",
    "unknown_kind": "no kind is known for {}",
    "bad_choices": "the choices cannot be told apart: {}",
    "answer_not_a_choice": "the gold is none of the choices: {}",
    "duplicate_id": "another row has this id: {}",
    "image_url": "an image of a host that image_hosts does not name: {}",
}


def finding_sentence(finding: Finding, place: str, seen: str) -> str:
    """One row of a finding."""
    seen = steering_nothing(" ".join(seen.split()))
    if seen and finding.name in _SAID:
        return f"{place}: {_SAID[finding.name].format(seen)}"
    return f"{place}: {seen}" if seen else place


def count_text(rows: int) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{rows:,} row{'' if rows == 1 else 's'}"


class Places:
    """Where the rows of a source stand: the line, where all are in one text file; else their number."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, row: int) -> str:
        """`line 11`, or `row 9` (the first is row 0)."""
        lines = self._lines
        return f"line {lines[row]}" if row < len(lines) else f"row {row}"

    @cached_property
    def _lines(self) -> list[int]:
        """The line on which each row begins; nothing where lines mean nothing."""
        declaration = self._source.declaration
        if declaration.hub or declaration.generated or declaration.columns.each or declaration.columns.turns:
            return []
        files = local_files(declaration.files, self._source.root, declaration.name)
        if len(files) != 1 or files[0].size > MOST_BYTES:
            return []
        path, format = files[0].local(), declaration.format or format_of(files[0].name)
        if format == "jsonl":
            with open(path, "rb") as file:
                return [number for number, line in enumerate(file, 1) if line.strip()]
        if format not in ("csv", "tsv"):
            return []
        # The line on which each offset lies; offsets ascend.
        offsets = table.row_offsets(files[0], tsv.DELIMITER if format == "tsv" else table.DELIMITER)
        lines, line, at = [], 1, 0
        with open(path, "rb") as file:
            for offset in offsets:
                line += file.read(offset - at).count(b"\n")
                at = offset
                lines.append(line)
        return lines
