"""The stream of micro-batches of one rank, made ahead of the training step by other threads.

For every optimizer step: its questions are dealt out to the ranks' micro-batches by their cost (`balance`), encoded in
order, cut to the token budget and packed. Everything is a function of seed, step, rank and number of ranks;
there is no state to save.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch, collate, images_as
from mmpr_pipeline.training.data.encode import Encoded, PairEncoder, PairReject
from mmpr_pipeline.training.data.groups import Group, ImageBudget, IndexedPair, fit_group, pack
from mmpr_pipeline.training.data.order import Outline, Slice, plan
from mmpr_pipeline.training.data.shards import ReferenceRow, Shards

T = TypeVar("T")
ENCODERS = 4  # threads
AHEAD = 4  # micro-batches made before they are asked for


@dataclass(frozen=True)
class MicroBatch:
    """Groups packed into one row, with the stored reference rows of their pairs (if any are stored)."""

    step: int
    batch: PackedBatch
    reference: Mapping[str, ReferenceRow] = field(default_factory=dict)


@dataclass(frozen=True)
class EndOfStep:
    """A step has no further micro-batch; what of it could not be used."""

    step: int
    rejects: tuple[PairReject, ...]


@dataclass
class Stream:
    """Makes micro-batches out of slices of groups, for rank `rank` of `ranks`.

    `rows(shard)` gives stored reference rows; images are cast to `dtype`; `shares`: prefixes are computed once;
    `image_budget`: most image tokens of a micro-batch, None for as many as `budget` holds.
    """

    shards: Shards
    encoder: PairEncoder
    budget: int
    rank: int = 0
    ranks: int = 1
    dtype: torch.dtype = torch.float32
    shares: bool = True
    image_budget: int | None = None

    def steps(self, steps: Iterable[tuple[int, list[Slice]]], rows: Any = None) -> Iterator[MicroBatch | EndOfStep]:
        """Every step's micro-batches in order, each step closed by an EndOfStep."""
        with ThreadPoolExecutor(ENCODERS, thread_name_prefix="encode") as pool:
            for step, slices in steps:
                yield from self._step(step, slices, rows, pool)

    def outlines(self, slices: Iterable[Slice]) -> list[Outline]:
        """About how many tokens each slice takes."""
        return [self.shards[s.shard].outline(s.group, s.first, s.stop, self.encoder.image_tokens) for s in slices]

    def _step(
        self, step: int, slices: list[Slice], rows: Any, pool: ThreadPoolExecutor
    ) -> Iterator[MicroBatch | EndOfStep]:
        """The planned micro-batches; what did not fit, as token counts were estimates, in more of them at the end."""
        rejects: list[PairReject] = []
        images: dict[int, Mapping[str, Tensor]] = {}
        stored: dict[str, ReferenceRow] = {}

        def made(packed: list[Group]) -> MicroBatch:
            inputs = [images_as(self.dtype, images.pop(id(group))) for group in packed]
            batch = collate(packed, inputs, share=self.shares)
            return MicroBatch(step, batch, {i: stored[i] for i in batch.pair_ids if i in stored})

        # This rank's micro-batches; every rank plans the same for all.
        images_most = ImageBudget(self.image_budget or inf, self.encoder.image_token)
        mine = plan(self.outlines(slices), self.ranks, self.budget, self.shares, images_most.most).ranks[self.rank]
        planned = [[slices[piece.item].part(piece.first, piece.stop) for piece in pieces] for pieces in mine]

        def encode(part: Slice) -> Encoded:
            return self.encoder.encode(self.shards[part.shard], part.group, part.first, part.stop)

        encoded = map_in_order(pool, encode, [part for parts in planned for part in parts])
        left: list[Group] = []
        for parts in planned:
            groups = [group for _ in parts for group in self._groups(*next(encoded), rows, stored, images, rejects)]
            first, *others = pack(groups, self.budget, self.shares, images_most) if groups else ([],)
            left += [group for packed in others for group in packed]
            if first:
                yield made(first)
        for packed in pack(left, self.budget, self.shares, images_most):
            yield made(packed)
        yield EndOfStep(step, tuple(rejects))

    def _groups(
        self,
        part: Slice,
        encoded: Encoded,
        rows: Any,
        stored: dict[str, ReferenceRow],
        images: dict[int, Mapping[str, Tensor]],
        rejects: list[PairReject],
    ) -> list[Group]:
        """The groups of a slice, each within the budget; fills the last three arguments on the way."""
        rejects += encoded.rejects
        if encoded.group is None:
            return []
        if rows is not None:
            known = rows(part.shard)
            stored.update({p.pair_id: known[p.pair_id] for p in encoded.group.pairs if p.pair_id in known})
        groups, too_long = fit_group(encoded.group, self.budget, self.shares)
        for pair, reason in too_long:
            stored_pairs = self.shards[part.shard].pairs(part.group, part.first, part.stop)
            row = next(row for row in stored_pairs if row.pair_id == pair.pair_id)
            rejects.append(PairReject(pair.pair_id, row.source, row.source_id, reason, f"token budget {self.budget}"))
        images.update({id(group): encoded.images for group in groups})
        return groups


def map_in_order(pool: ThreadPoolExecutor, work: Any, items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Each item with the result of `work`, in order, a bounded number of them under way."""
    waiting: deque[tuple[Any, Future[Any]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(work, item)))
        if len(waiting) > 2 * ENCODERS:
            first, result = waiting.popleft()
            yield first, result.result()
    for first, result in waiting:
        yield first, result.result()


def prefetch(items: Iterator[T]) -> Generator[T]:
    """The same items, made by another thread up to `AHEAD` ahead; its errors are raised here."""
    made: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=AHEAD)
    stopped, end = threading.Event(), object()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                return made.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(end)
        except BaseException as error:  # raised in the consumer
            put(end, error)

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def of_one_step(events: Iterator[MicroBatch | EndOfStep], rejects: list[PairReject]) -> Iterator[MicroBatch]:
    """The micro-batches of the next step; what of it could not be used is added to `rejects` at their end."""
    for event in events:
        if isinstance(event, EndOfStep):
            rejects += event.rejects
            return
        yield event


def idle_batch() -> PackedBatch:
    """The smallest batch: what a rank computes (and multiplies by 0) while others still have work."""
    return collate([Group("idle", (0,), (), ((0,), (0, 0)), (IndexedPair("idle", 0, 1),))], [{}])
