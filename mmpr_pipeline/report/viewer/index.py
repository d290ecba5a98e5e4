"""The index of the viewer: one row a question in narrow columns, from which the page filters, orders and counts itself.

A block holds the questions of some shards in the dataset's order: `MMPRIDX1`, the length of a JSON head (u32, little
endian), the head (rows, and each column's name, type, offset and, where its numbers stand for names, these), then the
arrays, each aligned to 8 bytes. Some 40 bytes a question: a million of them are one small download.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.dataset.files.arrow_file import open_table
from mmpr_pipeline.dataset.files.lookup import ShardFiles

MAGIC = b"MMPRIDX1"
_NAMES = ("source", "status", "reason", "kind", "language")
_NUMBERS = ("pairs", "rollouts", "correct", "incorrect", "unparseable", "rounds", "generated_tokens")
_TYPES: tuple[tuple[str, type], ...] = (("u8", np.uint8), ("u16", np.uint16), ("u32", np.uint32))


@dataclass(frozen=True)
class Column:
    """Numbers of some rows; with `values` they are codes of names."""

    data: np.ndarray
    values: tuple[str, ...] | None = None


Columns = dict[str, Column]


def columns_of(files: ShardFiles) -> Columns:
    """The columns of one shard's questions: names and counts as the questions file has them, `strategy` (all of a
    question's, joined by +), `chars` of the question, `images`, `shard`, and the first 64 bits of the id."""
    table = files.questions
    rows = table.num_rows
    found: Columns = {name: _coded(table.column(name)) for name in _NAMES}
    # All strategies of each question, joined by +; as bits first, since there are few of them.
    pairs = open_table(files.path("pairs"), ["question_id", "strategy"])
    strategies = pairs.column("strategy").combine_chunks().dictionary_encode()
    names = strategies.dictionary.to_pylist()
    order = {name: place for place, name in enumerate(sorted(names))}
    strategies_rows = pc.index_in(pairs.column("question_id"), value_set=table.column("question_id").combine_chunks())
    known = pc.is_valid(strategies_rows).to_numpy()
    bit = np.array([1 << order[name] for name in names], np.int64)
    bits = np.zeros(table.num_rows, np.int64)
    if names:
        np.bitwise_or.at(bits, pc.drop_null(strategies_rows).to_numpy(), bit[strategies.indices.to_numpy()[known]])
    kinds, codes = np.unique(bits, return_inverse=True)
    joined = ("+".join(name for name in sorted(names) if kind >> order[name] & 1) for kind in kinds.tolist())
    found["strategy"] = Column(_narrow(codes), tuple(joined))
    for name in _NUMBERS:
        found["tokens" if name == "generated_tokens" else name] = Column(_narrow(table.column(name).to_numpy()))
    found["chars"] = Column(_narrow(pc.utf8_length(table.column("text")).to_numpy()))
    found["images"] = Column(_narrow(pc.list_value_length(table.column("images")).to_numpy()))
    found["shard"] = Column(_narrow(np.full(rows, files.shard)))
    ids = "".join((name or "0" * 16)[:16] for name in table.column("question_id").to_pylist())
    halves = np.frombuffer(bytes.fromhex(ids), ">u4").astype(np.uint32)
    found["id_high"], found["id_low"] = Column(halves[0::2]), Column(halves[1::2])
    return found


def join(blocks: Iterable[Columns]) -> Columns:
    """Blocks one after the other, with one list of names a column."""
    parts = list(blocks)
    joined: Columns = {}
    for name in parts[0] if parts else ():
        columns = [part[name] for part in parts]
        if columns[0].values is None:
            joined[name] = Column(_narrow(np.concatenate([column.data for column in columns])))
            continue
        codes: dict[str, int] = {}
        data = []
        for column in columns:
            mine = [codes.setdefault(value, len(codes)) for value in column.values or ()]
            data.append(np.array(mine or [0], np.uint32)[column.data])
        joined[name] = Column(_narrow(np.concatenate(data)), tuple(codes))
    return joined


def encode(columns: Columns) -> bytes:
    """The block as the page reads it."""
    described: list[dict[str, Any]] = []
    rows = len(next(iter(columns.values())).data) if columns else 0
    for name, column in columns.items():
        kind = next(kind for kind, dtype in _TYPES if column.data.dtype == dtype)
        named = {} if column.values is None else {"values": list(column.values)}
        described.append({"name": name, "type": kind, "at": 0, **named})
    room = 64 * len(described) + len(json.dumps({"rows": rows, "columns": described}))  # offsets grow the head
    start = _aligned(len(MAGIC) + 4 + room)
    at = start
    for each, column in zip(described, columns.values(), strict=True):
        each["at"] = at
        at = _aligned(at + column.data.nbytes)
    head = json.dumps({"rows": rows, "columns": described}).encode().ljust(start - len(MAGIC) - 4)
    block = bytearray(at)
    block[:start] = MAGIC + struct.pack("<I", len(head)) + head
    for each, column in zip(described, columns.values(), strict=True):
        block[each["at"] : each["at"] + column.data.nbytes] = column.data.astype(
            column.data.dtype.newbyteorder("<")
        ).tobytes()
    return bytes(block)


def _coded(values: pa.ChunkedArray) -> Column:
    coded = pc.fill_null(values, "").combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    return Column(_narrow(coded.indices.to_numpy()), tuple(coded.dictionary.to_pylist()))


def _narrow(values: np.ndarray) -> np.ndarray:
    """In the narrowest type that holds them; what does not fit at all is cut to the most."""
    most = int(values.max()) if len(values) else 0
    for _, dtype in _TYPES:
        if most <= np.iinfo(dtype).max:
            narrow: np.ndarray = np.maximum(values, 0).astype(dtype)
            return narrow
    cut: np.ndarray = np.clip(values, 0, np.iinfo(np.uint32).max).astype(np.uint32)
    return cut


def _aligned(at: int) -> int:
    return -(-at // 8) * 8
