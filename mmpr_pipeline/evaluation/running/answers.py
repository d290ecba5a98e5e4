"""One model through one benchmark: rows are read as places fall free, asked, scored, and their images let go."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Reject, Rollout
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem, as_asked, read_items
from mmpr_pipeline.evaluation.judges.judge import Judge
from mmpr_pipeline.evaluation.metrics.metric import ScoredItem
from mmpr_pipeline.evaluation.running.kept import StoredScores
from mmpr_pipeline.evaluation.scoring.graded import Graded, Score
from mmpr_pipeline.evaluation.seen import TrainingOverlap
from mmpr_pipeline.evaluation.settings import EvalConfig
from mmpr_pipeline.rollouts.prompts import THINK_END, THINKS
from mmpr_pipeline.rollouts.sampling import Decoding, sampling_seed, unusable_verdict

Done = Callable[[int, int], None]
"""Told the items that are scored, and of how many as far as is known."""


async def answer_all(
    benchmark: Benchmark, engine: Engine, config: EvalConfig, score: Score | Judge, seen: TrainingOverlap, done: Done
) -> StoredScores:
    """Every item of a benchmark asked and scored, `in_flight` at once. Raises EngineError, SourceError, ConfigError."""
    began, gate = time.monotonic(), asyncio.Semaphore(config.in_flight)
    marks: dict[int, tuple[ScoredItem, tuple[str, ...]]] = {}
    unreadable: Counter[str] = Counter()
    expected = min(benchmark.rows_expected or 0, config.limit or 10**9)
    tokens, running, failed = 0, set[asyncio.Task[None]](), list[Exception]()

    async def one(number: int, item: BenchmarkItem) -> None:
        nonlocal tokens
        try:
            mark, rollouts = await _answered(benchmark, item, engine, config, score)
            marks[number] = (mark, tuple(rollout.text for rollout in rollouts))
            tokens += sum(rollout.tokens for rollout in rollouts)
            done(len(marks), max(len(marks), expected))
        except Exception as error:
            failed.append(error)
        finally:
            gate.release()

    items = read_items(benchmark, config)
    number = 0
    try:
        while not failed:
            await gate.acquire()
            found = await asyncio.to_thread(_next, items)
            if found is None:
                break
            if isinstance(found, Reject):
                unreadable[found.reason] += 1
            elif seen.keeps(found.question):
                task = asyncio.create_task(one(number, found))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
                continue
            gate.release()
        await asyncio.gather(*running)
        if failed:
            raise failed[0]
    except BaseException:
        for task in running:
            task.cancel()
        raise
    ordered = [marks[n] for n in sorted(marks)]
    return StoredScores(
        model=engine.info.model,
        mode=config.mode,
        marks=tuple(mark for mark, _ in ordered),
        texts=tuple(texts for _, texts in ordered),
        tokens=tokens,
        seconds=round(time.monotonic() - began, 1),
        judge=score.label if isinstance(score, Judge) else None,
        unreadable=dict(unreadable),
        left_out=seen.left_out,
        seen={label: dict(count) for label, count in seen.counts.items()},
    )


def _next(items: Iterator[BenchmarkItem | Reject]) -> BenchmarkItem | Reject | None:
    return next(items, None)


async def _answered(
    benchmark: Benchmark, item: BenchmarkItem, engine: Engine, config: EvalConfig, score: Score | Judge
) -> tuple[ScoredItem, Sequence[Rollout]]:
    def mark(graded: Sequence[Graded], reason: str | None = None) -> ScoredItem:
        return ScoredItem(item.question.question_id + f"/{item.question.source_id}", tuple(graded), item.groups,
                    item.cluster, item.cycle, reason)  # fmt: skip

    try:
        question = as_asked(benchmark, item, config)
        assert question.prompting is not None
        assert question.prompting.turn is not None
        request = SampleRequest(
            question=question,
            prompt=question.prompting.turn,
            prompt_version=question.prompting.label,
            n=config.samples,
            seed=sampling_seed(config.seed, question.question_id, 0),
            decoding=Decoding(temperature=config.temperature, max_tokens=benchmark.max_tokens or config.max_tokens),
        )
        responses = await engine.sample(request)
        if isinstance(score, Judge):
            graded = [await score.grade(item, _without_thinking(response)) for response in responses]
        else:
            graded = await asyncio.to_thread(lambda: [_graded(score, item, response) for response in responses])
    except ItemRejected as reject:
        return mark((), reject.reason), ()
    return mark(graded), responses


def _graded(score: Score, item: BenchmarkItem, response: Rollout) -> Graded:
    """The rule's score; thinking that did not end, and a short answer that was cut off, have none."""
    if item.question.kind != "none" and (verdict := unusable_verdict(response)):
        return Graded(0.0, None, verdict.rule, score(item, "").parts)
    return score(item, _without_thinking(response))


def _without_thinking(response: Rollout) -> str:
    text = response.text
    return text.rpartition(THINK_END)[2].strip() if response.prompt_version.startswith(THINKS) else text
