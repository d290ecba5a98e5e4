"""The stream of micro-batches of one rank, made ahead of the training step by other threads.

For every optimizer step: its questions are dealt out to the ranks' micro-batches by cost (`order.plan`), encoded in
order, cut to the token budget and packed. Everything is a function of seed, step, rank and number of ranks;
there is no state to save.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from math import inf
from typing import Any, TypeVar

import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import PackedBatch, collate, images_as
from mmpr_pipeline.training.data.encode import PairEncoder, PairReject
from mmpr_pipeline.training.data.groups import Group, IndexedPair, fit_group, pack
from mmpr_pipeline.training.data.order import Outline, Slice, plan
from mmpr_pipeline.training.data.shards import ReferenceRow, Shards
from mmpr_pipeline.training.world import Stopped, World

T = TypeVar("T")
R = TypeVar("R")
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
        limits = (self.shares, self.image_budget or inf)
        mine = plan(self.outlines(slices), self.ranks, self.budget, *limits).ranks[self.rank]
        planned = [[slices[piece.item].part(piece.first, piece.stop) for piece in pieces] for pieces in mine]
        encoded = map_in_order(
            pool,
            lambda part: self.encoder.encode(self.shards[part.shard], part.group, part.first, part.stop),
            [part for parts in planned for part in parts],
            2 * ENCODERS,
        )
        left: list[Group] = []
        for parts in planned:
            groups: list[Group] = []
            for part, question in islice(encoded, len(parts)):
                rejects += question.rejects
                if question.group is None:
                    continue
                if rows is not None:
                    known = rows(part.shard)
                    stored.update({p.pair_id: known[p.pair_id] for p in question.group.pairs if p.pair_id in known})
                fitting, too_long = fit_group(question.group, self.budget, self.shares)
                for pair, reason in too_long:
                    of_slice = self.shards[part.shard].pairs(part.group, part.first, part.stop)
                    row = next(row for row in of_slice if row.pair_id == pair.pair_id)
                    detail = f"token budget {self.budget}"
                    rejects.append(PairReject(pair.pair_id, row.source, row.source_id, reason, detail))
                images.update({id(group): question.images for group in fitting})
                groups += fitting
            first, *others = [*pack(groups, self.budget, *limits, self.encoder.image_token)] or [[]]
            left += [group for packed in others for group in packed]
            if first:
                yield made(first)
        for packed in pack(left, self.budget, *limits, self.encoder.image_token):
            yield made(packed)
        yield EndOfStep(step, tuple(rejects))


def map_in_order(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[tuple[T, R]]:
    """Each item with the result of `work`, in order, at most `ahead` of them under way beside the one asked for."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(work, item)))
        if len(waiting) > ahead:
            first, result = waiting.popleft()
            yield first, result.result()
    for first, result in waiting:
        yield first, result.result()


def prefetch(items: Iterator[T]) -> Generator[T]:
    """The same items, made by another thread up to `AHEAD` ahead; its errors are raised here."""
    end: Any = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        for _, item in map_in_order(pool, lambda _: next(items, end), count(), AHEAD):
            if item is end:
                return
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def in_turns(
    world: World, events: Iterator[MicroBatch | EndOfStep], rejects: list[PairReject], stopping: Callable[[], bool]
) -> Iterator[MicroBatch | None]:
    """This rank's micro-batches of the next step, then None as long as another rank has some: all take part in every
    turn. What of the step could not be used is added to `rejects`.

    Raises Stopped, on every rank, where any of them is asked to stop.
    """
    batch, more = None, True
    while True:
        if more:
            event = next(events, None)
            batch = event if isinstance(event, MicroBatch) else None
            more = batch is not None
            rejects += event.rejects if isinstance(event, EndOfStep) else ()
        stop, others = world.any(stopping(), more)
        if stop:
            raise Stopped
        if not others:
            return
        yield batch


def idle_batch() -> PackedBatch:
    """The smallest batch: what a rank computes (and multiplies by 0) while others still have work."""
    return collate([Group("idle", (0,), (), ((0,), (0, 0)), (IndexedPair("idle", 0, 1),))], [{}])
