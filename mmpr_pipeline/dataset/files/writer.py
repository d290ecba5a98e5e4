"""Writes one shard: outcomes of questions in order, into four Arrow files, and last the manifest that finishes it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.records import Image, QuestionOutcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import RecordFile, sha256_of
from mmpr_pipeline.dataset.files.manifest import FileEntry, Manifest, RunningCounts
from mmpr_pipeline.storage import Store


class ShardWriter:
    """A context manager: `add` every outcome of the shard in order, then `finish`. Without `finish` nothing stays.

    Memory holds one batch of each file and the names of the shard's images, whatever the shard's size.
    """

    def __init__(self, store: Store, shard: int, num_shards: int, identity: str, *, rehearsal: bool = False) -> None:
        self._store, self._shard, self._of, self._identity = store, shard, num_shards, identity
        self._rehearsal = rehearsal
        self._stored: set[bytes] = set()
        self._by_source: dict[str, RunningCounts] = {}
        self._stored_by_source: dict[str, set[bytes]] = {}
        self._total = RunningCounts()
        self._resources = ExitStack()
        self._files: dict[str, RecordFile] = {}

    def __enter__(self) -> Self:
        folder = self._resources.enter_context(self._store.workspace())
        self._files = {kind: RecordFile(folder / kind, schema) for kind, schema in layout.SCHEMAS.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The workspace must see the error: it tells what a full disk means.
        self._resources.__exit__(kind, error, trace)

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
        new = self._keep(self._stored, outcome.images)
        self._files["questions"].add([outcome.row], 500)
        self._files["images"].add(new, sum(len(image.data) for image in new))
        self._files["rollouts"].add(outcome.rollouts, sum(len(r.text) + 300 for r in outcome.rollouts))
        self._files["pairs"].add(
            outcome.pairs, sum(len(p.chosen) + len(p.rejected) + len(p.prompt) * 2 + 500 for p in outcome.pairs)
        )
        self._total.add(outcome, len(new))
        source = outcome.row.source
        new_to_source = self._keep(self._stored_by_source.setdefault(source, set()), outcome.images)
        self._by_source.setdefault(source, RunningCounts()).add(outcome, len(new_to_source))

    def finish(self) -> Manifest:
        """Put the files, then the manifest, and return the manifest.

        Raises DatasetError where the shard was finished before with other content.
        """
        files = []
        for kind, file in sorted(self._files.items()):
            file.close()
            place = layout.data(kind, self._shard, self._of)
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
        key, raw = layout.manifest(self._shard, self._of), manifest.encode()
        if not self._store.exists(key):  # a finished shard's files are never written over
            for kind, file in sorted(self._files.items()):
                self._store.put_file(layout.data(kind, self._shard, self._of), file.path)
        if not self._store.create(key, raw) and self._store.read(key) != raw:
            raise DatasetError(
                f"{key} already exists with other content.",
                remedy="Was this output made by another version of mmpr? Build into a new output.",
            )
        return manifest

    @staticmethod
    def _keep(stored: set[bytes], images: Iterable[Image]) -> list[Image]:
        """Images not stored before, which now are."""
        new = []
        for image in images:
            name = bytes.fromhex(image.sha256)
            if name not in stored:
                stored.add(name)
                new.append(image)
        return new
