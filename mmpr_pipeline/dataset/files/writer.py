"""Writes one shard: outcomes of questions in order, into four Arrow files, and last the manifest that finishes it.

Arrow files are written in bounded batches from records, column by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import sha256_of
from mmpr_pipeline.core.records import QuestionOutcome, Record
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import FileEntry, Manifest, RunningCounts
from mmpr_pipeline.storage import Store

BATCH_ROWS = 2048
BATCH_BYTES = 16 << 20
ZSTD_LEVEL = 3


class RecordFile:
    """Writes records of one kind to a new local file. Memory holds one batch, whatever the file's size.

    The same records in the same order give the same bytes: batches end by rows and bytes, never by time. Images are
    stored as they are (they are compressed already, and can be read in place); all else is zstd-compressed.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        codec = None if "data" in schema.names else pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema, options=options)
        self._fields = attrgetter(*schema.names)
        self._batch: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, records: Sequence[Record], size: int) -> None:
        """Append records that together hold about `size` bytes."""
        self._batch += map(self._fields, records)
        self._bytes += size
        if len(self._batch) >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left and end the file."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        if self._batch:
            arrays = []
            for column, field in zip(zip(*self._batch, strict=True), self.schema, strict=True):
                try:
                    arrays.append(pa.array(column, field.type))
                except UnicodeEncodeError:  # lone surrogates of a hostile text have no UTF-8 form
                    arrays.append(pa.array([_encodable(value) for value in column], field.type))
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
            self.rows += len(self._batch)
        self._batch, self._bytes = [], 0


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [_encodable(item) for item in value] if isinstance(value, tuple | list) else value


class ShardWriter:
    """`add` every outcome of the shard in order, then `finish`. `folder`: a workspace of the store.

    Memory holds one batch of each file and the names of the shard's images, whatever the shard's size.
    """

    def __init__(
        self, store: Store, folder: Path, shard: int, num_shards: int, identity: str, *, rehearsal: bool = False
    ) -> None:
        self._store, self._shard, self._of, self._identity = store, shard, num_shards, identity
        self._rehearsal = rehearsal
        self._files = {kind: RecordFile(folder / kind, schema) for kind, schema in layout.SCHEMAS.items()}
        self._total = RunningCounts()
        self._by_source: dict[str, RunningCounts] = {}
        self._stored: set[bytes] = set()
        self._stored_by_source: dict[str, set[bytes]] = {}

    def add(self, outcome: QuestionOutcome) -> None:
        """Write one question with its images, rollouts and pairs; the caller's order is the shard's order.

        Raises DatasetError where the outcome contradicts itself: that is a bug of the caller, never bad input.
        """
        # A row must say what became of it, and the counts in it must be those of what lies beside it.
        row, sampled = outcome.row, [r for r in outcome.rollouts if r.parent is None]
        seen = [r.outcome for r in sampled]
        facts = {
            "pairs": (row.pairs, len(outcome.pairs)),
            "paired means pairs": (row.status == "paired", bool(outcome.pairs)),
            "a reason unless paired": (row.reason is None, row.status == "paired"),
            "rollouts": (row.rollouts, len(sampled)),
            "correct": (row.correct, seen.count("correct")),
            "incorrect": (row.incorrect, seen.count("incorrect")),
            "unparseable": (row.unparseable, seen.count("unparseable")),
            "images": (set(row.images), {image.sha256 for image in outcome.images}),
        }
        wrong = [name for name, (stated, found) in facts.items() if stated != found]
        if wrong:
            raise DatasetError(f"The outcome of {row.source} {row.source_id} contradicts itself: {', '.join(wrong)}.")
        # Images not stored before, in the shard, and those new to the source.
        images = {bytes.fromhex(image.sha256): image for image in outcome.images}
        new = [image for name, image in images.items() if name not in self._stored]
        of_source = self._stored_by_source.setdefault(row.source, set())
        self._total.add(outcome, len(new))
        self._by_source.setdefault(row.source, RunningCounts()).add(outcome, len(images.keys() - of_source))
        self._stored.update(images)
        of_source.update(images)
        self._files["questions"].add([row], 500)
        self._files["images"].add(new, sum(len(image.data) for image in new))
        self._files["rollouts"].add(outcome.rollouts, sum(len(r.text) + 300 for r in outcome.rollouts))
        self._files["pairs"].add(
            outcome.pairs, sum(len(p.chosen) + len(p.rejected) + len(p.prompt) * 2 + 500 for p in outcome.pairs)
        )

    def finish(self) -> Manifest:
        """Put the files, then the manifest, and return the manifest.

        Raises DatasetError where the shard was finished before with other content.
        """
        files = []
        for kind, file in sorted(self._files.items()):
            file.close()
            place = layout.shard_key(kind, self._shard, self._of)
            size = file.path.stat().st_size
            files.append(FileEntry(path=place, sha256=sha256_of(file.path), bytes=size, rows=file.rows))
        manifest = Manifest(
            shard=self._shard,
            of=self._of,
            identity=self._identity,
            counts=self._total.counts(),
            sources={name: tally.counts() for name, tally in sorted(self._by_source.items())},
            files=tuple(files),
            rehearsal=self._rehearsal,
        )
        if not all(counts.adds_up() for counts in (manifest.counts, *manifest.sources.values())):
            raise DatasetError(f"Shard {self._shard} has lost questions: {manifest.counts}")
        key, raw = layout.shard_key("manifest", self._shard, self._of), manifest.encode()
        if not self._store.exists(key):  # a finished shard's files are never written over
            for kind, file in sorted(self._files.items()):
                self._store.put_file(layout.shard_key(kind, self._shard, self._of), file.path)
        if not self._store.create(key, raw) and self._store.read(key) != raw:
            raise DatasetError(
                f"{key} already exists with other content.",
                remedy="Was this output made by another version of mmpr? Build into a new output.",
            )
        return manifest
