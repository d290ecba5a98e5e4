"""The column file of reference log-probs, one for each shard of pairs, kept beside the shards.

OUT/reference/<key>/reference-00017-of-00512.arrow holds one row for each pair of the shard. The key says by what it
was scored: a changed model, revision, chat template or tile limit is another key, never a stale number. The file is
written whole, when its shard is scored: an interrupted pass goes on with the next shard. It is an Arrow file behind a
checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.core.files import with_checksum, without_checksum
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.dataset.files.layout import REFERENCE
from mmpr_pipeline.storage import Store

WEIGHT_FILES = ("*.safetensors", "*.bin", "config.json")

SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), False, {"description": "The pair."}),
        pa.field("chosen", pa.float64(), True, {"description": "Sum of log π_ref over the chosen response's tokens."}),
        pa.field("rejected", pa.float64(), True, {"description": "The same for the rejected response."}),
        pa.field("chosen_tokens", pa.int32(), False, {"description": "Tokens of the chosen response as scored."}),
        pa.field("rejected_tokens", pa.int32(), False, {"description": "Tokens of the rejected response as scored."}),
        pa.field("reason", pa.string(), True, {"description": "Why the pair was not scored; null if it was."}),
    ]
)


@dataclass(frozen=True)
class ReferenceRow:
    """One pair: summed log-probs under the reference, or the reason why there are none."""

    pair_id: str
    chosen: float | None
    rejected: float | None
    chosen_tokens: int
    rejected_tokens: int
    reason: str | None = None


@dataclass(frozen=True)
class ReferenceKey:
    """By what log-probs were scored: everything that can change them.

    `weights` is `weights_digest` of the model's folder, `encoding` a digest of what turns a pair into tokens and tiles
    (tokenizer, chat template, tile limits), `dtype` the computation's type.
    """

    model: str
    revision: str | None
    weights: str
    encoding: str
    dtype: str

    def file(self, shard: int, num_shards: int) -> str:
        """Store key of a shard's column file."""
        parts = [self.weights, self.encoding, self.dtype]
        return f"{REFERENCE}{content_id(parts)[:16]}/reference-{shard:05d}-of-{num_shards:05d}.arrow"


def weights_digest(folder: Path) -> str:
    """Digest of a model folder's weights and config: contents, not names of places or times.

    Reads every byte once, at disk speed. Raises ConfigError where there are no weights.
    """
    files = sorted({path for pattern in WEIGHT_FILES for path in folder.glob(pattern)})
    if len(files) < 2:
        raise ConfigError(f"{folder} holds no model weights.", remedy="Give a folder as save_pretrained writes it.")
    parts = []
    for path in files:
        with open(path, "rb") as file:
            parts += [path.name, hashlib.file_digest(file, "sha256").hexdigest()]
    return content_id(parts)


def write_reference(store: Store, key: ReferenceKey, shard: int, num_shards: int, rows: Iterable[ReferenceRow]) -> None:
    """Write a shard's column file, whole and atomically."""
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for row in rows:
        for name, value in asdict(row).items():
            columns[name].append(value)
    schema = SCHEMA.with_metadata({"scored_by": json.dumps(asdict(key), sort_keys=True)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.table(columns, schema=schema))
    name = key.file(shard, num_shards)
    store.write(name, with_checksum(name, sink.getvalue().to_pybytes()))


def read_reference(store: Store, key: ReferenceKey, shard: int, num_shards: int) -> dict[str, ReferenceRow] | None:
    """A shard's rows by pair id; None where it was not scored yet. Raises DatasetError where the file is damaged."""
    name = key.file(shard, num_shards)
    if not store.exists(name):
        return None
    try:
        table = pa.ipc.open_file(without_checksum(name, store.read(name))).read_all()
        rows = [ReferenceRow(**values) for values in table.select(SCHEMA.names).to_pylist()]
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise DatasetError(
            f"{store.url}/{name} is not a readable reference column: {error}",
            remedy="Delete the file; it is computed again.",
        ) from None
    return {row.pair_id: row for row in rows}
