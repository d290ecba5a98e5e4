"""From all pieces to the decision on every row: duplicates, contaminated rows, the mixture. Needs no images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.files import sealed
from mmpr_pipeline.screening import DROPPED, REPORT, STATUS
from mmpr_pipeline.screening.chunks import KEY_BYTES, Chunk, read_chunk, write_table
from mmpr_pipeline.screening.contamination import templates
from mmpr_pipeline.screening.mixture import share_fields, share_mask
from mmpr_pipeline.screening.near_duplicates import Near, gathered, near_duplicates
from mmpr_pipeline.screening.report import ComparedSets, ScreenedCounts, ScreeningReport
from mmpr_pipeline.screening.selection import (
    ASKED,
    CONTAMINATED,
    DROPPED_SCHEMA,
    DUPLICATE,
    LEFT_OUT,
    NEAR_DUPLICATE,
    REASONS,
    STATUS_SCHEMA,
    UNREADABLE,
    first_of_each,
    rows_digest,
    shard_rows,
)
from mmpr_pipeline.screening.settings import ScreeningSettings, Share
from mmpr_pipeline.storage import Store

Known = list[tuple[str, int, str]]
"""Source, row and id of each evaluation row, by number."""


@dataclass(frozen=True)
class Screened:
    """One source of the build, as the pass left it."""

    name: str
    pieces: Sequence[Chunk]
    share: Share


@dataclass
class _Rows:
    """All rows of all sources, one after the other."""

    keys: np.ndarray
    """uint64 (n, 2); zeros where a row is no question."""
    digests: np.ndarray
    """uint64 (n,), see `row_digest`."""
    readable: np.ndarray
    hits: pa.Table
    """measure, against, bits and similarity of the rows that are like an evaluation row, and `at`, their number."""
    offsets: list[int]
    """Where each source begins, and the end."""


def merge_chunks(
    store: Store, sources: Sequence[Screened], known: Known, rules: ScreeningSettings, shards: int,
    compared: ComparedSets,
) -> ScreeningReport:  # fmt: skip
    """Decide on every row, write it beside the output of `shards` shards, and return the report with `compared`."""
    rows = _gather(store, sources)
    hits, voided = _without_templates(rows, rules)
    status = np.where(rows.readable, ASKED, UNREADABLE).astype(np.uint8)
    status[hits["at"].to_numpy()] = CONTAMINATED
    earlier = first_of_each(rows.keys, status == ASKED) if rules.dedup else np.full(len(status), -1, np.int64)
    status[earlier >= 0] = DUPLICATE
    near = _near(store, sources, status, rules) if rules.near_duplicates else None
    if near is not None:
        status[near.earlier >= 0] = NEAR_DUPLICATE
    parts = {s.name: slice(rows.offsets[i], rows.offsets[i + 1]) for i, s in enumerate(sources)}
    for source in sources:
        part = status[parts[source.name]]
        asked = np.flatnonzero(part == ASKED)
        part[asked[~share_mask(rows.keys[parts[source.name]][asked], source.share)]] = LEFT_OUT
    dropped = pa.concat_tables(
        [DROPPED_SCHEMA.empty_table(), *_dropped(store, sources, rows, status, earlier, near, hits, known)]
    )
    hashes = {DROPPED: write_table(store, DROPPED, dropped)}
    bodies = [status[parts[source.name]].tobytes() for source in sources]
    seen = [
        [rows_digest(rows.digests[part][mine]) for mine in shard_rows(status[part], shards)] for part in parts.values()
    ]
    decided = pa.table([[source.name for source in sources], bodies, seen], STATUS_SCHEMA)
    hashes[STATUS] = write_table(store, STATUS, decided)
    by_set = Counter(zip(*(dropped.filter(pc.equal(dropped["reason"], REASONS[CONTAMINATED]))[name].to_pylist()
                           for name in ("of_source", "measure")), strict=True))  # fmt: skip
    report: ScreeningReport = {
        **compared,  # type: ignore[typeddict-item]  # it holds no more than its type says
        "sources": {s.name: _counts(status[parts[s.name]], s.share, rules) for s in sources},
        "contaminated": {f"{name} by {measure}": count for (name, measure), count in sorted(by_set.items())},
        "templates": voided,
        "hashes": hashes,
    }
    if rules.near_duplicates:
        # How many rows of a source are nearly rows of which.
        near = dropped.filter(pc.equal(dropped["reason"], REASONS[NEAR_DUPLICATE]))
        counted = Counter(zip(near["source"].to_pylist(), near["of_source"].to_pylist(), strict=True))
        report["near_duplicates"] = {
            f"{source} of {other}": count for (source, other), count in sorted(counted.items())
        }
    store.write(REPORT, sealed(report))
    return report


def _near(store: Store, sources: Sequence[Screened], status: np.ndarray, rules: ScreeningSettings) -> Near:
    """The near-duplicates among the rows that are still asked."""

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        at = 0
        for piece in (piece for source in sources for piece in source.pieces):
            kept, there = gathered(read_chunk(store, piece.key)["near"].to_pylist())
            mine = np.flatnonzero(there & (status[at : at + len(there)] == ASKED))
            yield at + mine, kept[mine]
            at += len(there)

    return near_duplicates(parts(), len(status), image_bits=rules.near_image_bits, likeness=rules.near_question)


def _gather(store: Store, sources: Sequence[Screened]) -> _Rows:
    total = sum(piece.stop - piece.start for source in sources for piece in source.pieces)
    keys: np.ndarray = np.zeros((total, 2), np.uint64)
    digests: np.ndarray = np.zeros(total, np.uint64)
    readable: np.ndarray = np.zeros(total, bool)
    hits, offsets, at = [], [0], 0
    for source in sources:
        for piece in source.pieces:
            table = read_chunk(store, piece.key)
            rows = slice(at, at + table.num_rows)
            readable[rows] = table["key"].is_valid().to_numpy()
            raw = table["key"].fill_null(bytes(KEY_BYTES)).to_pylist()
            keys[rows] = np.frombuffer(b"".join(raw), ">u8").reshape(-1, 2)
            digests[rows] = np.frombuffer(b"".join(table["row"].to_pylist()), ">u8")
            numbered = table.append_column("at", pa.array(range(at, at + table.num_rows), pa.int64()))
            found = numbered.filter(pc.is_valid(table["measure"]))
            hits.append(found.select(["at", "measure", "against", "bits", "similarity"]))
            at += table.num_rows
        offsets.append(at)
    return _Rows(keys, digests, readable, pa.concat_tables(hits), offsets)


def _without_templates(rows: _Rows, rules: ScreeningSettings) -> tuple[pa.Table, int]:
    """The hits that count, and how many evaluation questions were found to be templates."""
    alone = rows.hits.filter(pc.equal(rows.hits["measure"], "question"))
    void = templates(alone["against"].to_numpy(), rows.keys[alone["at"].to_numpy()], rules.template)
    by_template = np.isin(rows.hits["against"].to_numpy(), void)
    by_question = pc.equal(rows.hits["measure"], "question").to_numpy()
    return rows.hits.filter(pa.array(~(by_template & by_question))), len(void)


def _dropped(
    store: Store,
    sources: Sequence[Screened],
    rows: _Rows,
    status: np.ndarray,
    earlier: np.ndarray,
    near: Near | None,
    hits: pa.Table,
    known: Known,
) -> Iterator[pa.Table]:
    """The dropped rows, a table for each piece that has any; the pieces are looked at once more for the ids."""
    names = [source.name for source in sources]
    hit_rows = hits["at"].to_numpy()
    at = 0
    for source in sources:
        first = at
        for piece in source.pieces:
            stop = at + piece.stop - piece.start
            gone = at + np.flatnonzero(np.isin(status[at:stop], tuple(REASONS)))
            if len(gone):
                ids = read_chunk(store, piece.key)["source_id"].to_pylist()
                lines = []
                for row in gone.tolist():
                    line = {"source": source.name, "row": row - first, "source_id": ids[row - at]}
                    if status[row] == DUPLICATE:
                        found = {"measure": "same", **_place(int(earlier[row]), rows.offsets, names)}
                    elif near is not None and status[row] == NEAR_DUPLICATE:
                        found = {
                            "measure": "near",
                            "bits": int(near.bits[row]),
                            "similarity": float(near.likeness[row]),
                        }
                        found |= _place(int(near.earlier[row]), rows.offsets, names)
                    else:
                        hit = hits.slice(int(np.searchsorted(hit_rows, row)), 1).to_pylist()[0]
                        of_source, of_row, of_id = known[hit["against"]]
                        found = {name: hit[name] for name in ("measure", "bits", "similarity")}
                        found |= {"of_source": of_source, "of_row": of_row, "of_id": of_id}
                    lines.append({**line, "reason": REASONS[int(status[row])], **found})
                yield pa.Table.from_pylist(lines, DROPPED_SCHEMA)
            at = stop


def _place(row: int, offsets: Sequence[int], names: Sequence[str]) -> dict[str, str | float]:
    """Source and number of a row that is known by its number among all rows."""
    of = int(np.searchsorted(offsets, row, side="right")) - 1
    return {"of_source": names[of], "of_row": row - offsets[of]}


def _counts(status: np.ndarray, share: Share, rules: ScreeningSettings) -> ScreenedCounts:
    counted = np.bincount(status, minlength=6).tolist()
    dropped = counted[DUPLICATE] + counted[NEAR_DUPLICATE] + counted[CONTAMINATED]
    counts: ScreenedCounts = {
        "rows": len(status),
        "asked": counted[ASKED],
        "left_out": counted[LEFT_OUT],
        "unreadable": counted[UNREADABLE],
        "duplicate_question": counted[DUPLICATE],
        "contaminated": counted[CONTAMINATED],
        "share": share_fields(share),
        "questions": counted[ASKED] * share.repeat + counted[UNREADABLE] + dropped,
    }
    if rules.near_duplicates:
        counts["near_duplicate"] = counted[NEAR_DUPLICATE]
    return counts
