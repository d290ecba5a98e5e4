"""One shard: its questions, many at once, their outcomes written in order, its manifest last.

Which question is begun next: of those that were read, one of the source with the longest responses. A build ends when
its longest question does. Begun last, a long question is alone at the end, with engines that wait for it; begun first,
it ends while the short ones still fill them (longest processing time first: Graham 1969, "Bounds on multiprocessing
timing anomalies"). The length is learned from questions that have ended, in tokens: seconds would also measure how long
each had to wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.core.records import Question, QuestionOutcome, Reject
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.layout import Manifest, read_manifest
from mmpr_pipeline.dataset.files.writer import ShardWriter
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe, Strategy
from mmpr_pipeline.pipeline.plans.base import Plan
from mmpr_pipeline.pipeline.question import unread, work_question
from mmpr_pipeline.pipeline.watch.tally import Tally
from mmpr_pipeline.storage import open_store

READ_ROWS = 8
"""Rows read in one go, in a thread beside the event loop."""

IN_FLIGHT = 64
"""Questions worked on at once, where neither the settings nor the engines tell how many."""

WINDOW = 4
"""Questions started ahead of the one to be written next, as a multiple of those in flight: a slow question at the head
does not stop the others, and memory stays bounded."""

SLOW_QUESTION = 300.0
"""Seconds after which a question is named in the log."""

log = logging.getLogger(__name__)

Report = Callable[[Tally], None]

Moved = Callable[[int, int], None]
"""Called with two changes: in the number of questions being worked on, and in the number of those finished."""


async def work_shard(
    plan: Plan, shard: int, engine: Engine | None, report: Report, slots: Slots | None = None
) -> Manifest:
    """Make one shard and return its manifest. A shard whose manifest is there already is left as it is.

    Whatever a killed attempt left behind is either a finished file that comes out the same again, or its journal.
    `slots`: of the questions in flight, where several shards share them; else the shard has its own.
    """
    config = plan.config
    store = open_store(config.out, known=True)
    # Ray may run a task again whose worker died after the shard was finished, when its journal is gone.
    if store.exists(done := layout.shard_key("manifest", shard, config.shards)):
        return read_manifest(store.read(done), done)
    answering = plan.engine_for(shard, engine)
    started = time.monotonic()
    log.info("shard %d of %d begins", shard, config.shards)
    tally: Tally = Counter()
    in_flight = config.in_flight or IN_FLIGHT

    def moved(at_work: int, done: int) -> None:
        tally["work/at"] += at_work
        tally["work/done"] += done
        report(tally)

    try:
        with store.workspace() as folder:
            writer = ShardWriter(store, folder, shard, config.shards, plan.digest, rehearsal=config.rehearsal)
            async for outcome in outcomes(plan.read(shard), answering, plan.recipe(), in_flight, slots, moved):
                writer.add(outcome)
                count(tally, outcome)
                tally["resumed"] = answering.resumed_rollouts
                report(tally)
            manifest = writer.finish()
        answering.forget()
        seconds = time.monotonic() - started
        log.info(
            "shard %d of %d is finished: %d questions in %.1f s", shard, config.shards, tally["questions"], seconds
        )
    except StoreError:
        if not store.exists(done):
            raise
        # A worker that outlived its driver has finished the shard meanwhile, and this one's journal said so.
        manifest = read_manifest(store.read(done), done)
        answering.forget()
    finally:
        await answering.close()
    return manifest


def count(tally: Tally, outcome: QuestionOutcome) -> None:
    """Add one question's outcome to a tally."""
    row = outcome.row
    by = f"by/{row.source}"
    tally["questions"] += 1
    tally[row.status] += 1
    tally["pairs"] += row.pairs
    tally["rollouts"] += len(outcome.rollouts)
    tally["tokens"] += row.generated_tokens
    tally[f"{by}/questions"] += 1
    tally[f"{by}/paired"] += row.status == "paired"
    tally[f"{by}/correct"] += row.correct
    tally[f"{by}/checked"] += row.correct + row.incorrect + row.unparseable
    if row.reason:
        tally[f"why/{row.reason}"] += 1
        tally[f"{by}/why/{row.reason}"] += 1


async def outcomes(
    rows: Iterator[Question | Reject],
    engine: Engine,
    recipe: Recipe,
    in_flight: int,
    slots: Slots | None = None,
    moved: Moved = lambda at_work, done: None,
) -> AsyncIterator[QuestionOutcome]:
    """The outcome of every row, in the rows' order, with up to `in_flight` questions being worked on at once."""
    strategies = tuple(STRATEGIES.get(name)() for name in recipe.pairing.strategies)
    slots = slots or Slots(in_flight)
    seen: set[str] = set()
    started: deque[asyncio.Task[QuestionOutcome]] = deque()
    try:
        while batch := await asyncio.to_thread(lambda: list(islice(rows, READ_ROWS))):
            for row in batch:
                if not isinstance(row, Reject):
                    if row.question_id in seen:  # the same source, images, text and choices
                        row = Reject(
                            source=row.source,
                            source_id=row.source_id,
                            reason="duplicate_question",
                            detail=f"the same question and images as an earlier row, id {row.question_id}",
                        )
                    else:
                        seen.add(row.question_id)
                started.append(asyncio.create_task(_work(row, engine, recipe, strategies, slots, moved)))
            while len(started) > WINDOW * in_flight or (started and started[0].done()):
                yield await started.popleft()
        while started:
            yield await started.popleft()
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


async def _work(
    row: Question | Reject,
    engine: Engine,
    recipe: Recipe,
    strategies: Sequence[Strategy],
    slots: Slots,
    moved: Moved,
) -> QuestionOutcome:
    if isinstance(row, Reject):
        moved(0, 1)
        return unread(row)
    async with slots.place(row.source):
        started = time.monotonic()
        moved(1, 0)
        try:
            outcome = await work_question(row, engine, recipe, strategies)
            slots.ended(row.source, [rollout.tokens for rollout in outcome.rollouts])
        finally:
            moved(-1, 1)
    if (seconds := time.monotonic() - started) > SLOW_QUESTION:
        log.warning("question %s of %s took %.0f s", row.source_id, row.source, seconds)
    return outcome


MEMORY = 32
"""The expected length of a source's responses is an average over about this many of its latest questions."""


class Slots:
    """Places for questions in flight, in one event loop; shards that a worker has together share them."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._tokens: dict[str, tuple[int, float]] = {}

    @asynccontextmanager
    async def place(self, source: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        if self._free and not any(self._waiting.values()):
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(source, deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                raise
        try:
            yield
        finally:
            self._leave()

    def ended(self, source: str, tokens: Sequence[int]) -> None:
        """Learn from a question of this source that has ended; `tokens` are those of each response."""
        if tokens:
            questions, mean = self._tokens.get(source, (0, 0.0))
            questions = min(questions + 1, MEMORY)
            self._tokens[source] = questions, mean + (sum(tokens) / len(tokens) - mean) / questions

    def _leave(self) -> None:
        """Hand a place on to the first in line of the longest source; one of which nothing is known comes first."""
        self._free += 1
        sources = (source for source, waiting in self._waiting.items() if waiting)
        for source in sorted(sources, key=lambda source: -self._tokens.get(source, (0, float("inf")))[1]):
            waiting = self._waiting[source]
            while waiting:
                turn = waiting.popleft()
                if not turn.done():  # else it was cancelled
                    self._free -= 1
                    turn.set_result(None)
                    return
