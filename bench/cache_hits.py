"""Prefix and encoder hits of one vLLM engine, by vLLM's own counters, for the ways in which a build asks.

    python bench/cache_hits.py [--model nano] [--questions 16] [--max-tokens 64]

Each line starts from an empty prefix cache and asks about questions (one picture each, drawn here) that no line before
it asked about: n=32 at once with the picture and without it, rounds of 8, 8 and 16 as adaptive sampling asks, and
DropNTP continuations of eight responses a question after its rounds. `looked up` are the prompt tokens of all
requests, each of the n rollouts being one; an encoder hit is a picture whose tiles were encoded before.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpr_pipeline.core.records import Question, Rollout
from mmpr_pipeline.engines.check import make_questions
from mmpr_pipeline.engines.engine import ContinueRequest, SampleRequest
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.vllm.engine import VllmEngine
from mmpr_pipeline.rollouts.prompts import prompt_text, template_for, without_images
from mmpr_pipeline.rollouts.sampling import Decoding

CONTINUED = 8


class Encoded:
    """Counts what vLLM's scheduler asks its cache of encoder outputs."""

    def __init__(self, engine: VllmEngine) -> None:
        core: Any = engine._engine.engine_core
        self.scheduler = core.engine_core.scheduler
        manager, self.counts = self.scheduler.encoder_cache_manager, Counter[str]()
        look, take = manager.check_and_update_cache, manager.allocate

        def looked(*asked: Any) -> bool:
            hit = bool(look(*asked))
            self.counts["hits"] += hit
            return hit

        def taken(*asked: Any) -> None:
            self.counts["encoded"] += 1
            take(*asked)

        manager.check_and_update_cache, manager.allocate = looked, taken


def request_for(question: Question, n: int, first: int, number: int, tokens: int) -> SampleRequest:
    """The `number`-th round of a question: n rollouts from index `first` on."""
    template = template_for(question, "cot-final")
    return SampleRequest(
        question=question, prompt=prompt_text(question, template), prompt_version=template.label, n=n, round=number,
        first_index=first, seed=1000 * number, decoding=Decoding(max_tokens=tokens),
    )  # fmt: skip


async def rounds(engine: VllmEngine, questions: Sequence[Question], sizes: Sequence[int], tokens: int) -> list[Any]:
    """All rounds of each question one after another, of all questions together; what was asked, and the last answer."""

    async def of(question: Question) -> tuple[SampleRequest, list[Rollout]]:
        first = 0
        for number, n in enumerate(sizes):
            request = request_for(question, n, first, number, tokens)
            answer = await engine.sample(request)
            first += n
        return request, answer

    return await asyncio.gather(*(of(question) for question in questions))


async def continuations(engine: VllmEngine, answered: Sequence[tuple[SampleRequest, list[Rollout]]]) -> None:
    """DropNTP: half of a response is kept, and continued without the picture."""
    requests = [
        ContinueRequest(
            question=request.question, prompt=without_images(request.prompt), prompt_version=request.prompt_version,
            parent=parent, ratio=0.5, seed=7, index=100 + parent.index, decoding=request.decoding,
        )
        for request, answer in answered
        for parent in answer[:CONTINUED] if parent.tokens >= 4
    ]  # fmt: skip
    await asyncio.gather(*(engine.continue_without_image(request) for request in requests))


async def measured(engine: VllmEngine, count: int, tokens: int) -> None:
    """Ask in each of the ways, and print a line for each."""
    encoded, questions = Encoded(engine), make_questions(4 * count)
    before, seen_before = await engine.stats(), Counter[str]()

    async def line(name: str) -> None:
        nonlocal before, seen_before
        after, seen = await engine.stats(), encoded.counts.copy()
        looked, hit = after.prompt_tokens - before.prompt_tokens, after.cached_tokens - before.cached_tokens
        share = f"{hit / looked:.1%}" if looked else "-"
        encodings, hits = (seen[count] - seen_before[count] for count in ("encoded", "hits"))
        print(f"| {name} | {looked:,} | {share} | {encodings} | {hits} |", flush=True)
        before, seen_before = after, seen
        engine._engine.reset_prefix_cache()

    print("| way of asking | prompt tokens looked up | in the prefix cache | pictures encoded | encoder hits |")
    print("|---|---|---|---|---|", flush=True)
    blind = [each.model_copy(update={"images": ()}) for each in questions[:count]]
    await rounds(engine, blind, [32], tokens)
    await line("text only, n=32")
    await rounds(engine, questions[count : 2 * count], [32], tokens)
    await line("a picture, n=32")
    answered = await rounds(engine, questions[2 * count : 3 * count], [8, 8, 16], tokens)
    await line("a picture, rounds of 8, 8, 16")
    await continuations(engine, answered)
    await line(f"DropNTP, {CONTINUED} a question, prefix cache empty")
    answered = await rounds(engine, questions[3 * count :], [8], tokens)
    await continuations(engine, answered)
    await line(f"a picture, n=8, then DropNTP, {CONTINUED} a question")


def main() -> None:
    """Load the engine in this process, and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=64)
    asked = parser.parse_args()
    engine = VllmEngine(EngineSettings(name="vllm", model=asked.model, kv_cache_gib=0.5))
    asyncio.run(measured(engine, asked.questions, asked.max_tokens))


if __name__ == "__main__":
    main()
