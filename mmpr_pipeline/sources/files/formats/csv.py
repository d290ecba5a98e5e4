"""Tables of text, `.csv` and (tab-separated) `.tsv`, as spreadsheets and VLMEvalKit write them: a header, then rows.

Quoted cells may hold line ends. A row with more cells than the header is torn; one with fewer lacks its last columns.
Cells that look like numbers stay text: `007` is an id, and golds are compared as text anyway.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.files.formats import MAX_ROW_BYTES, Mark, Row, Scan, SourceFile, Unreadable, mark_before

ROWS_PER_MARK = 256
MAX_LINES = 500
"""Most lines of one row. A quote that nobody closes would else make one row of all that follows."""

_UNCLOSED = f"a quote that is not closed within {MAX_LINES} lines, or at all"
DELIMITER = ","
OTHERS = (";", "\t", "|")
"""Where a spreadsheet writes commas into numbers it writes these between cells: taken where a comma splits nothing."""


def scan(file: SourceFile, scan: Scan, delimiter: str = DELIMITER) -> None:
    """See RowFormat."""
    with file.open() as stream:
        names, begin, delimiter = _header(stream, file.name, delimiter)
        for offset, cells in _records(stream, begin, delimiter):
            if scan.full:
                return
            if scan.rows % ROWS_PER_MARK == 0:
                scan.marks.append((scan.rows, offset))
            scan.saw(_row(names, cells) if scan.look else None)


def read(
    file: SourceFile,
    marks: tuple[Mark, ...],
    start: int,
    stop: int,
    columns: list[str] | None,
    delimiter: str = DELIMITER,
) -> Iterator[Row]:
    """See RowFormat."""
    with file.open() as stream:
        names, begin, delimiter = _header(stream, file.name, delimiter)
        first, offset = mark_before(marks, start)
        for number, (_, cells) in enumerate(_records(stream, offset or begin, delimiter), start=first):
            if number >= stop:
                return
            if number >= start:
                yield _row(names, cells)


def row_offsets(file: SourceFile, delimiter: str = DELIMITER) -> list[int]:
    """Where each row begins, in bytes. Raises SourceError where the file is no table."""
    with file.open() as stream:
        _, begin, delimiter = _header(stream, file.name, delimiter)
        return [offset for offset, _ in _records(stream, begin, delimiter)]


class _Lines:
    """The lines of a stream as text, and the offset after the last one given. No line is held beyond the limit."""

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        stream.seek(offset)
        self.stream, self.offset = stream, offset
        self.begin()

    def begin(self) -> None:
        """A row begins here."""
        self.second = self.count = self.quotes = 0
        self.ended = False

    def unclosed(self) -> bool:
        """Whether the file ended within a quoted cell of this row."""
        return self.ended and self.count > 0 and self.quotes % 2 == 1

    def after_first(self) -> None:
        """Go back to the second line of the row: the first alone is torn."""
        self.offset = self.second
        self.stream.seek(self.offset)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self.count >= MAX_LINES:
            raise csv.Error(_UNCLOSED)
        line = self.stream.readline(MAX_ROW_BYTES + 1)
        if not line:
            self.ended = True
            raise StopIteration
        if len(line) > MAX_ROW_BYTES:
            self.offset += len(line)
            while line and not line.endswith(b"\n"):
                line = self.stream.readline(MAX_ROW_BYTES)
                self.offset += len(line)
            raise csv.Error(f"a line beyond the limit of {MAX_ROW_BYTES} bytes")
        text = line.decode("utf-8-sig" if self.offset == 0 else "utf-8", "surrogateescape")
        self.offset += len(line)
        self.count += 1
        self.quotes += line.count(b'"')
        self.second = self.second or self.offset
        return text


def _header(stream: BinaryIO, name: str, delimiter: str) -> tuple[list[str], int, str]:
    """Names of the columns, the offset of the first row, and the sign between cells."""
    if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"{name} is text in UTF-16.", remedy="Save it as UTF-8.")
    lines = _Lines(stream, 0)
    try:
        names = next(csv.reader(lines, delimiter=delimiter), [])
        if delimiter == DELIMITER and len(names) == 1:
            split = {other: next(csv.reader([names[0]], delimiter=other), []) for other in OTHERS}
            best = max(split, key=lambda other: len(split[other]))
            names, delimiter = (split[best], best) if len(split[best]) > 1 else (names, delimiter)
    except csv.Error as error:
        if "new-line" in str(error):
            raise SourceError(f"{name} ends its lines with CR alone.", remedy="Save it with LF or CRLF.") from None
        raise SourceError(f"{name} cannot be read as a table: {error}", remedy="Rewrite it as CSV.") from None
    if not names or len(set(names)) < len(names):
        raise SourceError(
            f"{name} begins with no header, or with one that names a column twice.",
            remedy="Give each column a unique name in the first line.",
        )
    return names, lines.offset, delimiter


def _records(stream: BinaryIO, offset: int, delimiter: str) -> Iterator[tuple[int, list[str] | Unreadable]]:
    """Cells of each row that is not blank, with its offset."""
    if csv.field_size_limit() < MAX_ROW_BYTES:
        csv.field_size_limit(MAX_ROW_BYTES)  # of the whole process: the default is smaller than a photograph in base64
    lines = _Lines(stream, offset)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        begin = lines.offset
        lines.begin()
        try:
            cells = next(reader, None)
            if lines.unclosed():
                raise csv.Error(_UNCLOSED)
        except csv.Error as error:
            reason = "row_too_large" if "limit" in str(error) else "torn_line"
            yield begin, Unreadable(reason, str(error)[:200])
            if str(error) == _UNCLOSED:
                lines.after_first()
            reader = csv.reader(lines, delimiter=delimiter)
            continue
        if cells is None:
            return
        if cells:
            yield begin, cells


def _row(names: list[str], cells: list[str] | Unreadable) -> Row:
    if isinstance(cells, Unreadable):
        return cells
    if len(cells) > len(names):
        return Unreadable("torn_line", f"{len(cells)} cells, the header has {len(names)}")
    if any("\udc80" <= sign <= "\udcff" for cell in cells if not cell.isascii() for sign in cell):
        return Unreadable("torn_line", "not UTF-8")
    return {name: cell or None for name, cell in zip(names, cells, strict=False)}
