"""The screening pass on Ray: every row of the sources is looked at once, piece by piece, before anything is sampled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import ray

from mmpr_pipeline.cluster.session import end, result
from mmpr_pipeline.core.errors import DatasetError, SourceError, StoreError
from mmpr_pipeline.core.files import sealed
from mmpr_pipeline.core.progress import Stage
from mmpr_pipeline.core.schemas import leave_pandas_out
from mmpr_pipeline.dataset.files.sealed import damaged, read_screening
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.plans.evaluation_sets import EvaluationSets
from mmpr_pipeline.pipeline.plans.sources import ResolvedSource
from mmpr_pipeline.screening import REPORT
from mmpr_pipeline.screening.chunks import (
    CHUNKS,
    Chunk,
    chunks_of,
    hash_keys,
    hash_sketches,
    is_sound,
    read_chunk,
    read_sketches,
    write_chunk,
)
from mmpr_pipeline.screening.contamination import EvaluationRows
from mmpr_pipeline.screening.fingerprints import cached_sketches
from mmpr_pipeline.screening.merge import Screened, merge_chunks
from mmpr_pipeline.screening.report import ComparedSets, ScreeningReport
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.storage import MissingKeyError, Store, open_store

PIECE_RETRIES = 5
"""Times that Ray starts a piece again whose worker or node died."""

SAY_EVERY = 10.0
"""Seconds between two words on how far the pass is."""

Notify = Stage


class Screenable(Protocol):
    """What the pass must know of a plan."""

    @property
    def config(self) -> BuildConfig:
        """The settings of the build."""
        ...

    @property
    def digest(self) -> str:
        """Content id of what decides the shards."""
        ...

    @property
    def sources(self) -> tuple[ResolvedSource, ...]:
        """The sources that questions come from."""
        ...

    @property
    def against(self) -> EvaluationSets:
        """The evaluation sources that they are compared with."""
        ...

    @property
    def screens(self) -> bool:
        """Whether the rows must be looked at before sampling."""
        ...


_loaded: dict[tuple[str, str], EvaluationRows] = {}
"""The evaluation rows, loaded once in each worker process: by the store's URL and the plan's digest."""

Look = Callable[[Screenable, Sequence[Chunk], str], None]
"""Looks at pieces, of which the last argument says in words what they hold; raises the first error."""


def screen(plan: Screenable, notify: Notify, look: Look) -> ScreeningReport | None:
    """The report on what is left of the plan's sources, made where it was not made before; None without screening.

    Sound pieces that a killed run left are kept. Raises SourceError where a source cannot be read.
    """
    if not plan.screens:
        return None
    store = open_store(plan.config.out)
    before = _report(plan, store, notify)
    wrong = damaged(store, before.get("hashes", {})) if before is not None else []
    if before is not None and not wrong:
        store.delete_prefix(CHUNKS)
        return before
    if wrong:
        notify(f"screening again: {', '.join(wrong)} is gone or damaged")
    if plan.against and not plan.against.sources:
        raise StoreError(
            f"{store.url} has shards, but what screening left there, by which their questions were chosen "
            f"({REPORT} and the files beside it), is gone or damaged.",
            remedy="Bring it back from a copy, or begin a new build with another --out.",
        )
    there = {key for key in store.list(CHUNKS) if is_sound(store, key)}
    for piece in (piece for piece in sketch_pieces(plan) if piece.key not in there):
        if fingerprint := plan.against.sources[piece.source].fingerprint:  # it lies on this machine only
            write_chunk(store, piece.key, fingerprint.sketches(piece.start, piece.stop))
            there.add(piece.key)
    rows = [piece for part in key_pieces(plan) for piece in part]
    for pieces, what in ((sketch_pieces(plan), "evaluation rows"), (rows, "rows")):
        look(plan, [piece for piece in pieces if piece.key not in there], what)
    report = decide(plan, store)
    store.delete_prefix(CHUNKS)
    if wrong and before and report["hashes"] != before["hashes"]:
        store.write(REPORT, sealed(before))  # so that the next run compares again
        raise SourceError(
            "The rows of the sources, or their images, are not what they were when they were screened.",
            remedy="Bring the sources' files back as they were, or begin a new build with another --out.",
        )
    return report


def _report(plan: Screenable, store: Store, notify: Notify) -> ScreeningReport | None:
    """The report of an earlier run of this plan; None where there is none, or a damaged one."""
    try:
        report = read_screening(store)
    except MissingKeyError:
        return None
    except DatasetError as error:
        notify(f"screening again: {error.message}")
        return None
    return report if report.get("plan", plan.digest) == plan.digest else None


def decide(plan: Screenable, store: Store) -> ScreeningReport:
    """Decide on every row when all pieces are there, and return the report."""
    known = [(piece.name, row, name) for piece in sketch_pieces(plan) for row, name in _ids(store, piece)]
    parts = zip(plan.sources, key_pieces(plan), strict=True)
    screened = [Screened(source.name, pieces, source.share) for source, pieces in parts]
    told: ComparedSets = {
        "plan": plan.digest,
        "against": dict(plan.against.content),
        "unchecked": dict(plan.against.unchecked),
    }
    return merge_chunks(store, screened, known, plan.config.screening, plan.config.shards, told)


def sketch_pieces(plan: Screenable) -> list[Chunk]:
    """The pieces of the evaluation sources."""
    sources = enumerate(plan.against.sources)
    return [piece for n, source in sources for piece in chunks_of("sketches", n, source.name, source.index.rows)]


def key_pieces(plan: Screenable) -> list[list[Chunk]]:
    """The pieces of each source of the build."""
    return [chunks_of("keys", n, source.name, source.index.rows) for n, source in enumerate(plan.sources)]


def _ids(store: Store, piece: Chunk) -> Iterable[tuple[int, str]]:
    table = read_chunk(store, piece.key)
    return zip(table["row"].to_pylist(), table["source_id"].to_pylist(), strict=True)


def chunks_on_ray(
    plan: Screenable,
    pieces: Sequence[Chunk],
    what: str,
    *,
    workers: int,
    notify: Notify,
    still_held: Callable[[], None],
) -> None:
    """Look at the pieces, `workers` at once. Raises the first error."""
    waiting = deque(pieces)
    total, done = sum(piece.stop - piece.start for piece in waiting), 0
    told = -SAY_EVERY
    shared = ray.put(plan) if waiting else None
    running: dict[Any, Chunk] = {}
    try:
        while waiting or running:
            if time.monotonic() - told >= SAY_EVERY:
                told = time.monotonic()
                notify(f"screening {what}", done, total)
            while waiting and len(running) < workers:
                piece = waiting.popleft()
                running[_piece_task.remote(shared, piece)] = piece
            ended, _ = ray.wait(list(running), timeout=5)
            for ref in ended:
                piece = running.pop(ref)
                result(ref, partial(_lost, piece))
                done += piece.stop - piece.start
            still_held()
    finally:
        end(list(running))


def _lost(piece: Chunk, error: str) -> SourceError:
    return SourceError(
        f"The worker that read rows {piece.start:,} to {piece.stop:,} of {piece.name} died {PIECE_RETRIES + 1} "
        f"times: {error}.",
        remedy="Most often memory: lower --workers. The same command goes on from here.",
    )


@ray.remote(num_cpus=1, max_retries=PIECE_RETRIES)
def _piece_task(plan: Screenable, piece: Chunk) -> None:
    """One piece in a Ray worker; what comes of it lies in the store."""
    leave_pandas_out()
    look_at(plan, piece)


def look_at(plan: Screenable, piece: Chunk) -> None:
    """Look at one piece and write its table."""
    store, root = open_store(plan.config.out), plan.config.data_root
    if piece.kind == "sketches":
        planned = plan.against.sources[piece.source]
        look = partial(hash_sketches, open_source(planned.path, root), planned.index, piece.start, piece.stop)
        table = cached_sketches(planned.index, piece.start, piece.stop, look)
    else:
        planned = plan.sources[piece.source]
        evaluation = None
        # An evaluation source is not compared with itself.
        if plan.against and planned.compared and planned.name not in plan.against.content:
            loaded = (store.url, plan.digest)
            if loaded not in _loaded:
                _loaded.clear()
                _loaded[loaded] = EvaluationRows(list(read_sketches(store, sketch_pieces(plan))), plan.config.screening)
            evaluation = _loaded[loaded]
        near = plan.config.screening.near_duplicates
        table = hash_keys(open_source(planned.path, root), planned.index, piece.start, piece.stop, evaluation, near)
    write_chunk(store, piece.key, table)
