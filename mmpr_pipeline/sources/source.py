"""A source opened: its index (small, made once by the driver) and its rows as questions (read by each shard).

`read` gives the rows of a slice, each as a Question or, with the reason, as a Reject.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from mmpr_pipeline.core.errors import ItemRejected, MmprError, SourceError
from mmpr_pipeline.core.records import Question, Reject
from mmpr_pipeline.sources.declaration.catalog import find_declaration
from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from mmpr_pipeline.sources.files import formats
from mmpr_pipeline.sources.files.containers import INSIDE, at_address
from mmpr_pipeline.sources.files.formats import LocalFile, Row, SourceFile, Unreadable
from mmpr_pipeline.sources.files.hub import HubFile
from mmpr_pipeline.sources.images import USUAL, ImageLimits
from mmpr_pipeline.sources.images.archives import ImageArchives
from mmpr_pipeline.sources.images.load import HubImages, ImageFolder, ImagePlaces, image_bytes
from mmpr_pipeline.sources.images.web import WebImages, run_ahead
from mmpr_pipeline.sources.indexed import IndexedArchive, IndexedFile, RowPlace, SourceIndex, index_source
from mmpr_pipeline.sources.rows import mapping
from mmpr_pipeline.sources.rows.columns import clean, image_references
from mmpr_pipeline.sources.rows.entries import entry_rows
from mmpr_pipeline.sources.rows.joined import joined_rows

MAX_DETAIL = 300
"""Most characters of a reject's detail."""


@dataclass(frozen=True)
class Source:
    """A source of questions.

    `whole_files`: fetch small Hub files whole, as a build does; a preview does not. `looks`: decode each image to be
    sure of it; else only its bytes are known, and rows with broken ones are not told apart. `also`: further columns
    that `read_with_rows` gives.
    """

    declaration: SourceDeclaration
    root: Path
    whole_files: bool = True
    looks: bool = True
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The source's name, as it is written into every row."""
        return self.declaration.name

    def index(self, limit: int | None = None, commit: str | None = None) -> SourceIndex:
        """Look once over the rows, or over the first `limit`; on the Hub at `commit`, where the declaration pins none.

        Raises SourceError: no files, no rows, out of reach.
        """
        return index_source(self.declaration, self.root, self.whole_files, limit, commit)

    def read(self, index: SourceIndex, start: int, stop: int) -> Iterator[Question | Reject]:
        """Rows `start` to `stop` (exclusive), in order, one item for each; only these are read and decoded.

        Raises SourceError where a file is not any more what it was when the index was made.
        """
        work = (make for _, make in self._work(index, start, stop))
        if not self.declaration.image_hosts:
            return (make() for make in work)
        return run_ahead(work)

    def read_with_rows(self, index: SourceIndex, start: int, stop: int) -> Iterator[tuple[Row, Question | Reject]]:
        """As `read`, each item with the row that it was made of."""
        return ((row, make()) for row, make in self._work(index, start, stop))

    def find(self, index: SourceIndex, start: int, stop: int, source_id: str) -> tuple[Row, list[bytes]] | None:
        """The first of the rows `start` to `stop` that has this id, and its images as they are stored: those that can
        be read without a network. No question is made of it: it may be one that was rejected."""
        for _, row, place, part in self._every_row(index, start, stop):
            if source_id == (place.name if isinstance(row, Unreadable) else self._source_id(row, place)):
                if isinstance(row, Unreadable) or self.declaration.image_hosts or self.declaration.hub:
                    return row, []
                load = self._loader(index, part)
                images: list[bytes] = []
                with suppress(ItemRejected):  # no column of images, or none named in it
                    for reference in image_references(self.declaration, row):
                        with suppress(ItemRejected, SourceError, OSError):
                            images.append(load(reference))
                return row, images
        return None

    def _work(self, index: SourceIndex, start: int, stop: int) -> Iterator[tuple[Row, Callable[[], Question | Reject]]]:
        """Each row, and what is still to be done for it: to fetch its images, look at them, and make the question."""
        repeats = set(index.duplicates)
        loaders: dict[str, mapping.Load] = {}
        for number, row, place, part in self._every_row(index, start, stop):
            if part.name not in loaders:
                loaders = {part.name: self._loader(index, part)}
            yield row, partial(self._item, row, place, number in repeats, loaders[part.name])

    def _every_row(self, index: SourceIndex, start: int, stop: int) -> Iterator[tuple[int, Row, RowPlace, IndexedFile]]:
        """Number, row, place within all files, and file of the rows `start` to `stop`."""
        first = lines = 0
        for part in index.files:
            low, high = max(start - first, 0), min(stop - first, part.rows)
            if low < high:
                for number, (row, place) in enumerate(self._rows(index, part, low, high), start=first + low):
                    yield number, row, RowPlace(place.row + lines, place.entry), part
            first += part.rows
            lines += part.lines or part.rows

    def _item(self, row: Row, place: RowPlace, repeated: bool, load: mapping.Load) -> Question | Reject:
        source_id = place.name
        try:
            if isinstance(row, Unreadable):
                raise ItemRejected(row.reason, row.detail)
            source_id = self._source_id(row, place)
            if torn := next((value for value in row.values() if isinstance(value, Unreadable)), None):
                raise ItemRejected(torn.reason, torn.detail)
            if repeated:
                raise ItemRejected("duplicate_id", place.name)
            return mapping.question_from_row(
                self.declaration, row, source_id, load, self.limits if self.looks else None
            )
        except ItemRejected as reason:
            detail = clean(reason.detail)[:MAX_DETAIL]
            return Reject(source=self.name, source_id=source_id, reason=reason.reason, detail=detail)
        except Exception as error:
            # Whatever a hostile row makes the code raise costs this row; what no row is to blame for stops the run: an
            # error of the machine (a full disk), or of the whole source.
            fatal = error.errno in _OF_THE_MACHINE if isinstance(error, OSError) else isinstance(error, MmprError)
            if fatal:
                raise
            return Reject(source=self.name, source_id=source_id, reason="unreadable_row", detail=type(error).__name__)

    @property
    def limits(self) -> ImageLimits:
        """Most pixels and bytes of an image; where more pixels are allowed, bytes are too."""
        most = self.declaration.most_pixels
        return USUAL if most is None else ImageLimits(most, max(USUAL.bytes, 3 * most))

    def _source_id(self, row: Row, place: RowPlace) -> str:
        """The id that the row gives, with the number of the question where one id stands for several."""
        assert not isinstance(row, Unreadable)
        found = mapping.row_id(self.declaration, row) or f"row {place.row}"
        return f"{found}#{place.entry}" if place.entry and not self.declaration.columns.own_ids else found

    def _rows(self, index: SourceIndex, part: IndexedFile, low: int, high: int) -> Iterator[tuple[Row, RowPlace]]:
        """The rows of a slice of one file and their places, and an error where they are fewer than the index says."""
        columns, join, made = self.declaration.columns, self.declaration.join, self.declaration.generated
        several = bool(columns.entry_columns())
        question, first = formats.mark_before(part.places, low) if several else (low, low)
        last, seen = sys.maxsize if several else high, 0
        try:
            if made:
                from mmpr_pipeline.sources.generated import scenes

                rows: Iterator[Row] = scenes.rows(made.name, split=made.split, start=first, stop=last, seed=made.seed)
            else:
                names = [*self.declaration.column_names(), *self.also]
                # Of `a.b` also `a`, the struct that it may be a field of.
                names += [*(name.partition(".")[0] for name in names), *([join.key] if join else [])]
                names = list(dict.fromkeys(names))
                reader: formats.RowFormat = ROW_FORMATS.get(part.format or "")
                rows = reader.read(self._file(index, part), part.marks, first, last, names)
                if join and index.joined:
                    other = self._file(index, index.joined)
                    rows = joined_rows(rows, join.key, other, formats.format_of(other.name), names)
            for number, row in enumerate(rows, start=first):
                for entry, one in enumerate(entry_rows(row, columns) if several else [row], start=1):
                    if low <= question < high:
                        seen += 1
                        yield one, RowPlace(number, entry if several else 0)
                    question += 1
                if several and question >= high:
                    break
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{part.name} of {self.name} cannot be read: {error}", remedy=_AGAIN) from None
        if seen != high - low:
            raise SourceError(f"{part.name} of {self.name} has other rows than when the build began.", remedy=_AGAIN)

    def _file(self, index: SourceIndex, part: IndexedFile | IndexedArchive) -> SourceFile:
        """A file of the index, as it was when the index was made. Raises SourceError where it is not any more."""
        files: list[SourceFile] = []
        for name, size in part.within or ((part.name, part.size),):
            if self.declaration.hub:
                files.append(HubFile(self.declaration.hub.id, index.revision or "", name, size, self.whole_files))
                continue
            path = self.root / name
            if not path.is_file() or path.stat().st_size != size:
                raise SourceError(f"{path} is not any more what it was when the build began.", remedy=_AGAIN)
            files.append(LocalFile(path, name, size))
        (file,) = at_address(part.name, lambda _: files, exact=True) if part.within else files
        return file

    def _loader(self, index: SourceIndex, part: IndexedFile) -> mapping.Load:
        declaration = self.declaration
        folder = ImageFolder()
        if declaration.image_root and not declaration.hub:
            folder = ImageFolder(
                self.root / declaration.image_root, self.root / declaration.image_root, self.limits.bytes
            )
        elif declaration.files:
            base = (self.root / part.name.split(INSIDE)[0]).parent
            folder = ImageFolder(base, base if part.name.startswith("../") else self.root, self.limits.bytes)
        files = tuple(self._file(index, archive) for archive in index.archives)
        places = ImagePlaces(
            folder=folder,
            archives=ImageArchives(files, declaration.image_root or "", self.limits.bytes) if files else None,
            web=WebImages(declaration.image_hosts, declaration.private_hosts) if declaration.image_hosts else None,
            hub=HubImages(declaration.hub.id, index.revision or "", declaration.image_root)
            if declaration.hub and declaration.image_root and not files
            else None,
            most_bytes=self.limits.bytes,
            prefix=declaration.image_prefix or "",
        )
        return lambda reference: image_bytes(reference, places)


def open_source(name_or_path: str, data_root: str | Path | None = None) -> Source:
    """A source by its name in the catalog or the path of its declaration.

    `data_root` is where relative paths of a declaration start; its own folder if not given. Raises ConfigError where
    the declaration cannot be found or cannot work; nothing of the data is looked at yet.
    """
    declaration, path = find_declaration(name_or_path)
    return Source(declaration, Path(data_root or path.parent).resolve())


_OF_THE_MACHINE = frozenset(
    [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE]
)
_AGAIN = "Put the file back as it was, or begin a new build with another --out."
