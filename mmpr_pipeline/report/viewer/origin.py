"""Where a rejected row came from: its source, opened again where it lies on this machine and is what it was.

A shard keeps only the reason of a row that never became a question. What the row says, and its picture, is in the
source. A dataset that a stranger made may name any path: nothing is shown of a source whose content is not the one that
the build identified.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from mmpr_pipeline.core.errors import ItemRejected, MmprError
from mmpr_pipeline.core.records import Image
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.sources.files.formats import Unreadable
from mmpr_pipeline.sources.images.load import load_image
from mmpr_pipeline.sources.indexed import SourceIndex
from mmpr_pipeline.sources.source import Source, open_source
from mmpr_pipeline.storage import Store

KEPT = 64
"""Rows that stay known, with their pictures."""
MOST_SEARCHED = 100_000
"""Rows of a source that are looked through where the row is not in its shard's slice (mixtures, screening)."""
MOST_RAW = 20_000
"""Characters of a row that are shown."""


@dataclass(frozen=True)
class SourceRow:
    """A row as its source holds it, as text, and those of its images that can be shown."""

    raw: str
    images: tuple[Image, ...] = ()


class Origins:
    """The sources of a build. Safe to use from several threads."""

    def __init__(self, store: Store, shards: int) -> None:
        self._store, self._of = store, shards
        self._opened: dict[str, tuple[Source, SourceIndex] | None] = {}
        self._rows: OrderedDict[tuple[str, str, int], SourceRow | None] = OrderedDict()
        self._lock = Lock()

    def row(self, source: str, source_id: str, shard: int) -> SourceRow | None:
        """The row of a question of a shard; None where its source is not at hand."""
        key = source, source_id, shard
        with self._lock:
            if key not in self._rows:
                try:
                    self._rows[key] = self._find(*key)
                except (MmprError, OSError, ValueError):  # moved, changed, damaged: then there is nothing to show
                    self._rows[key] = None
            self._rows.move_to_end(key)
            if len(self._rows) > KEPT:
                self._rows.popitem(last=False)
            return self._rows[key]

    def image(self, sha256: str) -> Image | None:
        """A picture of the rows that were shown last."""
        with self._lock:
            images = (image for row in self._rows.values() if row for image in row.images)
            return next((image for image in images if image.sha256 == sha256), None)

    def _find(self, name: str, source_id: str, shard: int) -> SourceRow | None:
        if name not in self._opened:
            self._opened[name] = self._open(name)
        opened = self._opened[name]
        if opened is None:
            return None
        source, index = opened
        low, high = index.rows * shard // self._of, index.rows * (shard + 1) // self._of
        found = source.find(index, low, high, source_id)
        if found is None and index.rows <= MOST_SEARCHED:
            found = source.find(index, 0, index.rows, source_id)
        if found is None:
            return None
        row, data = found
        if isinstance(row, Unreadable):
            raw = f"{row.reason}: {row.detail}"
        else:
            raw = json.dumps(row, indent=1, ensure_ascii=False, default=_described)[:MOST_RAW]
        images = []
        for each in data:
            with suppress(ItemRejected):
                images.append(load_image(each))
        return SourceRow(raw, tuple(images))

    def _open(self, name: str) -> tuple[Source, SourceIndex] | None:
        """The source of this name, if it is the one that the build read. Of the Hub nothing is fetched."""
        begun = json.loads(self._store.read(layout.CONFIG))
        content = begun.get("identity", {}).get("sources", {}).get(name)
        config = begun.get("config", {})
        for path in config.get("sources", ()):
            source = open_source(path, config.get("data_root"))
            if source.name == name and content and not source.declaration.hub and not source.declaration.generated:
                index = source.index()
                if {"rows": index.rows, "content": index.fingerprint} == content:
                    return source, index
        return None


def _described(value: object) -> str:
    return f"{len(value):,} bytes" if isinstance(value, bytes | bytearray | memoryview) else str(value)
