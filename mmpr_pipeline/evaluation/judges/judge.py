"""Putting answers to a judge: retries of unreadable verdicts, both orders, and a memory that outlives any kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Prompting, Question, content_id
from mmpr_pipeline.engines.engine import Engine, SampleRequest
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.judges.rubric import Rubric
from mmpr_pipeline.evaluation.scoring.graded import Graded
from mmpr_pipeline.evaluation.settings import JudgeSettings
from mmpr_pipeline.models.messages import IMAGE_MARK
from mmpr_pipeline.rollouts.prompts import place_images
from mmpr_pipeline.rollouts.sampling import Decoding, sampling_seed
from mmpr_pipeline.storage import Store
from mmpr_pipeline.storage.journal import Journal

CHARS_OF_A_TOKEN = 4
IMAGE_TOKENS = 1000
"""About as many tokens as a judge reads for an image: for the estimate of cost only."""


@dataclass(frozen=True)
class Cost:
    """What a judge will take, about: requests, tokens read and written at most, and money where prices are known."""

    requests: int
    tokens_in: int
    tokens_out: int
    money: float | None

    def as_text(self) -> str:
        """The estimate in words."""
        price = "" if self.money is None else f", about {self.money:,.2f} by the prices given"
        return (
            f"{self.requests:,} judgements: about {self.tokens_in:,} tokens to read, "
            f"at most {self.tokens_out:,} to write{price}"
        )


class Memory:
    """Replies that a judge has given, by content of what it was asked; kept in a journal below the results."""

    def __init__(self, store: Store | None) -> None:
        self._journal = Journal(store, "judged") if store else None
        self._known = {r["key"]: r["reply"] for r in self._journal.read()} if self._journal else {}
        self._writer = self._journal.open() if self._journal else None

    def get(self, key: str) -> str | None:
        """The reply to what has this key, if it was given before."""
        return self._known.get(key)

    def put(self, key: str, reply: str) -> None:
        """Keep a reply, at once."""
        self._known[key] = reply
        if self._writer:
            self._writer.append({"key": key, "reply": reply})

    def close(self) -> None:
        """Flush what is kept."""
        if self._writer:
            self._writer.close()


class Judge:
    """One judge with one rubric."""

    def __init__(self, engine: Engine, rubric: Rubric, settings: JudgeSettings, memory: Memory) -> None:
        self._engine, self._rubric, self._settings, self._memory = engine, rubric, settings, memory
        self._gate = asyncio.Semaphore(settings.in_flight)
        self.asked = self.remembered = 0

    @property
    def label(self) -> str:
        """Model, rubric and its version: what every result names."""
        return f"{self._engine.info.model}, {self._rubric.name}@{self._rubric.version} in {self._rubric.words} words"

    @property
    def orders(self) -> int:
        """Verdicts for each answer."""
        return 2 if self._rubric.both_orders and self._settings.both_orders else 1

    def cost(self, items: Sequence[BenchmarkItem], response_tokens: int) -> Cost:
        """What judging one response to each item takes, of `response_tokens` each, before it begins."""
        chars = sum(len(self._rubric.prompt(item, "")) for item in items)
        images = sum(len(item.question.images) for item in items) if self._rubric.with_image else 0
        requests = self.orders * len(items)
        read = self.orders * (ceil(chars / CHARS_OF_A_TOKEN) + len(items) * response_tokens + images * IMAGE_TOKENS)
        write = requests * self._rubric.max_tokens
        prices = self._settings.price_in, self._settings.price_out
        known = prices[0] is not None and prices[1] is not None
        money = (read * (prices[0] or 0) + write * (prices[1] or 0)) / 1e6 if known else None
        return Cost(requests, read, write, money)

    async def grade(self, item: BenchmarkItem, response: str) -> Graded:
        """The judge's score; of two orders the mean. Where no verdict can be read, the rubric's `failed`.

        Raises ItemRejected where the judge refuses to be asked, EngineError where it cannot serve at all.
        """
        response = response.strip() or "(no answer)"
        first = await self._verdict(item, response, swap=False)
        if self.orders == 1:
            return first
        second = await self._verdict(item, response, swap=True)
        second = second if second.rule != "judge" else self._rubric.swapped(second)
        mean = (first.score + second.score) / 2
        parts = {name: (first.parts.get(name, 0.0) + value) / 2 for name, value in second.parts.items()}
        parts["orders_differ"] = float(first.score != second.score)
        return Graded(mean, f"{first.said} | {second.said}", "judge", parts)

    async def _verdict(self, item: BenchmarkItem, response: str, *, swap: bool) -> Graded:
        prompt = self._rubric.prompt(item, response, swap=swap)
        for attempt in range(self._settings.attempts):
            reply = await self._reply(item, prompt, attempt)
            if (found := self._rubric.read(reply)) is not None:
                return replace(found, parts={**found.parts, "unread": 0.0})
        return Graded(self._rubric.failed, None, "no_verdict", {"unread": 1.0})

    async def _reply(self, item: BenchmarkItem, prompt: str, attempt: int) -> str:
        """The judge's text; the first attempt is greedy, later ones are warmer, as asking the same again helps none."""
        images = item.question.images if self._rubric.with_image else ()
        key = content_id(self.label, prompt, [image.sha256 for image in images], str(attempt))
        if (known := self._memory.get(key)) is not None:
            self.remembered += 1
            return known
        plain = prompt.replace(IMAGE_MARK, "<picture>")  # a response may say it; marks are ours alone
        question = Question(
            question_id=key,
            source=f"judge-{self._rubric.name}",
            source_id=item.question.source_id,
            text=plain,
            images=images,
            kind="none",
            tiles=item.question.tiles,
            prompting=Prompting(turn=plain, label=self._rubric.name),
        )
        request = SampleRequest(
            question=question,
            prompt=place_images(plain, len(images)),
            prompt_version=f"{self._rubric.name}@{self._rubric.version}",
            n=1,
            seed=sampling_seed(0, key, attempt),
            decoding=Decoding(temperature=min(1.0, 0.5 * attempt), max_tokens=self._rubric.max_tokens),
        )
        async with self._gate:
            try:
                [rollout] = await self._engine.sample(request)
                reply = rollout.text
            except ItemRejected as reject:
                if reject.reason != "content_filter":
                    raise
                reply = ""  # the judge's own filter: a refusal, as any other
        self.asked += 1
        self._memory.put(key, reply)
        return reply


async def grade_all(
    judge: Judge, work: Sequence[tuple[BenchmarkItem, str]], done: Callable[[int], None]
) -> list[Graded | ItemRejected]:
    """Every response judged, in order; `done` is called with the number judged so far."""
    finished = 0

    async def one(item: BenchmarkItem, response: str) -> Graded | ItemRejected:
        nonlocal finished
        try:
            return await judge.grade(item, response)
        except ItemRejected as reject:
            return reject
        finally:
            finished += 1
            done(finished)

    return list(await asyncio.gather(*(one(item, response) for item, response in work)))
