"""What was seen of evaluation sets, kept on this machine from one build to the next: they are hashed once.

Only of data sets at a pinned revision of the Hub, whose rows cannot change; a piece is named by all that decides it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa

from mmpr_pipeline.core.errors import DatasetError, StoreError
from mmpr_pipeline.core.files import cache_folder
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.screening import SCREENING
from mmpr_pipeline.screening.chunks import SKETCHES, read_chunk, write_chunk
from mmpr_pipeline.sources import SourceIndex
from mmpr_pipeline.storage import open_store


def cached_sketches(index: SourceIndex, start: int, stop: int, look: Callable[[], pa.Table]) -> pa.Table:
    """The sketches of these rows: as they were kept, or else from `look`, and kept.

    A damaged file is replaced; a cache that cannot be written is done without.
    """
    if index.revision is None:
        return look()
    key = f"{content_id(SCREENING, index.fingerprint, str(start), str(stop))}.arrow"
    store = open_store(cache_folder() / "sketches")
    with suppress(StoreError, DatasetError, OSError):
        kept = read_chunk(store, key)
        if kept.schema == SKETCHES:
            return kept
    table = look()
    with suppress(StoreError, OSError):
        write_chunk(store, key, table)
    return table
