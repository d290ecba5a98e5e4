"""Are hundreds of engines kept busy? Our scheduling on simulated engines, on a clock that jumps from event to event.

    python bench/engines.py [--engines 1 8 64 512] [--questions-per-engine 488] [--flat] [--json FILE]
    python bench/engines.py --engines 8 --questions-per-engine 60 --tokens 16000 --most-tokens 32768    # long thinking

Real: the way of a shard (`pipeline.workers.shard.outcomes`: questions in flight, its window), where requests go
(`engines.pool.EnginePool`, one in each shard worker), the actors of engines (`engines.actors.EngineActor`: gate, busy
clock, what they tell of their load), and when a question has enough (`rollouts.sampling`). Simulated: the engines, with
continuous batching, a KV cache that preempts as vLLM does (the sequence admitted last is thrown out and computed
again), and the speed of an 8B model; how long responses are; and which are right. 488 questions an engine is
the paper's 250,000 on 512. There is one shard worker for each engine, as on a cluster with a CPU for each GPU.

Rates of an engine, one H100 80 GB with Llama-3.1-8B in 16 bits (InternVL2-8B's language model is of that size):
- 6.48 ms a step with one sequence: median time per output token, vLLM 0.21, concurrency 1
  (https://yobitelcomm.github.io/bench/recipes/concurrency-sweep/);
- 12,500 tokens a second at best, vLLM (https://www.morphllm.com/vllm-benchmarks), taken as 256 sequences at once:
  20.5 ms a step; between the two, a step grows evenly with each sequence (vLLM's own default is 1,024 on an H100, ours
  512: more than 256 gain little at 8B, whose steps are then bound by reading the KV cache);
- 27,600 prompt tokens a second: half, for 16 bits, of the prompts of NVIDIA's 3,450 output tokens a second at 2,048 in
  and 128 out in FP8 (TensorRT-LLM, docs/source/performance/perf-overview.md).
A prompt has 1,900 tokens (7 tiles of 256, and text), a response 325 on average (the paper: 300 and 350.5), at most
2,048: lognormal, with means that differ between four sources (assumed, as the spread). Solve rates are Beta(0.5, 0.5).
A message takes 1 ms each way. `--unordered` is without what shortens the end: questions begin in their rows' order
(not those of the longest source first), requests in the order of their arrival (not those of the oldest question
first), and an engine decodes 256 rollouts at once whatever its cache will hold.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import logging
import math
import random
import selectors
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast
from unittest.mock import patch

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.engines.actors.actor import EngineActor
from mmpr_pipeline.engines.actors.metrics import BusyTimer
from mmpr_pipeline.engines.engine import ContinueRequest, Engine, EngineInfo, SampleRequest
from mmpr_pipeline.engines.pool.pool import EnginePool
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.vllm.admission import ActiveLimit, Turns
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import Recipe, Strategy
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.workers import shards_on_ray as cluster
from mmpr_pipeline.pipeline.workers.shard import IN_FLIGHT, Slots, outcomes
from mmpr_pipeline.pipeline.workers.shards_on_ray import REPORT_EVERY
from mmpr_pipeline.rollouts.sampling import Decoding, SamplingSettings, next_round

SEQUENCES = 256
STEP_ALONE = 0.00648
STEP_FULL = SEQUENCES / 12_500
PROMPT_TOKENS, PROMPT_RATE = 1_900, 27_600.0
TOKENS, MOST_TOKENS = 325, 2_048
MESSAGE = 0.001
KV_TOKENS = 420_000
"""0.9 of 80 GB less 16 GB of weights, at 131 kB a token (32 layers, 8 heads of 128 for keys and for values)."""

CACHED_PROMPTS = (KV_TOKENS - SEQUENCES * TOKENS) // PROMPT_TOKENS
SOURCES = {"short": 0.4, "usual": 0.8, "long": 1.1, "longest": 1.7}
"""Mean length of each source's responses, as a multiple of the mean of all."""

SIGMA = 0.5
"""Spread of the logarithm within a source; 0.73 over all of them."""

BLIND_TOKENS = 250
"""Prompt of a continuation: no image, half of a response."""

Answer = TypeVar("Answer")


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a while, lets the clock jump."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing ever happens outside; only time passes."""
        if timeout is None:
            raise RuntimeError("everything waits, and for nothing")
        self.now += timeout
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated seconds; what goes to threads is done at once."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds since the beginning."""
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Answer], *args: Any
    ) -> asyncio.Future[Answer]:
        """The result, without a thread: threads would run on another clock."""
        done: asyncio.Future[Answer] = self.create_future()
        done.set_result(func(*args))
        return done


def step_seconds(sequences: int) -> float:
    """Seconds of one step of the model with so many sequences in the batch."""
    return STEP_ALONE + (STEP_FULL - STEP_ALONE) * (sequences - 1) / (SEQUENCES - 1)


class SimulatedEngine:
    """Continuous batching: up to 256 sequences advance one token a step, others wait in line.

    Between two events (a sequence ends, the KV cache is full) nothing changes. Prompts that are not in the cache, and
    sequences that were thrown out of it, hold all sequences up for as long as they take to compute.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sequences: int = SEQUENCES, ordered: bool = True) -> None:
        self._loop, self._ordered = loop, ordered
        self._waiting: list[tuple[int, int, _Sequence]] = []
        self._limit = ActiveLimit(KV_TOKENS if ordered else None, sequences)
        self._turns = Turns()
        self._running: list[tuple[int, int, _Sequence]] = []
        self._cached: dict[tuple[str, int], None] = {}
        self._steps, self._since, self._prefill, self._order = 0.0, 0.0, 0.0, 0
        self._began_sum = self._prompt_sum = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.tokens = self.prompts = 0
        self.recomputed = 0.0
        """Tokens that were computed again, because their sequence had been thrown out of the KV cache."""
        self.sequence_seconds = 0.0

    def submit(
        self, question: str, lengths: list[int], prompt_tokens: int, most: int = MOST_TOKENS
    ) -> asyncio.Future[None]:
        """Generate sequences of these lengths; done when all are."""
        self._advance()
        self._limit.asked(most, prompt_tokens)
        prompt = (question, prompt_tokens)
        if prompt not in self._cached:
            self.prompts += 1
            self._prefill += prompt_tokens / PROMPT_RATE
        self._cached.pop(prompt, None)
        self._cached[prompt] = None
        if len(self._cached) > CACHED_PROMPTS:
            del self._cached[next(iter(self._cached))]
        request = _Request(len(lengths), prompt_tokens, self._loop.create_future())
        turn = self._turns.of(question) if self._ordered else 0
        for length in lengths:
            self._order += 1
            heapq.heappush(self._waiting, (turn, self._order, _Sequence(length, request, turn, self._order)))
        self._go_on()
        return request.done

    def _advance(self) -> None:
        """Bring the count of steps to now."""
        now = self._loop.time()
        passed, self._since = now - self._since, now
        self.sequence_seconds += passed * len(self._running)
        held_up = min(passed, self._prefill)
        self._prefill -= held_up
        if self._running:
            self._steps += (passed - held_up) / step_seconds(len(self._running))

    def _free(self) -> float:
        """Tokens for which the KV cache has room: what runs holds its tokens, and each request's prompt once."""
        return KV_TOKENS - len(self._running) * self._steps + self._began_sum - self._prompt_sum

    def _begin(self, sequence: _Sequence) -> None:
        self._began_sum += sequence.began
        if not sequence.request.running:
            self._prompt_sum += sequence.request.prompt_tokens
        sequence.request.running += 1

    def _leave(self, sequence: _Sequence) -> None:
        self._began_sum -= sequence.began
        sequence.request.running -= 1
        if not sequence.request.running:
            self._prompt_sum -= sequence.request.prompt_tokens

    def _go_on(self) -> None:
        """Fill the batch, and wait for the next end of a sequence or of the KV cache's room."""
        free, running = self._free(), len(self._running)
        limit = self._limit.now(self._steps - self._began_sum / running if running else 0.0)
        while self._waiting and len(self._running) < limit:
            sequence = self._waiting[0][2]
            needed = sequence.made + sequence.request.prompt_tokens
            if self._running and free < needed + len(self._running):
                break
            heapq.heappop(self._waiting)
            free -= needed
            if sequence.made:
                self.recomputed += sequence.made
                self._prefill += sequence.made / PROMPT_RATE
            sequence.began = self._steps - sequence.made
            self._begin(sequence)
            end = math.ceil(self._steps - 1e-6) + sequence.length - sequence.made
            heapq.heappush(self._running, (math.ceil(end), sequence.order, sequence))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running:
            steps = min(max(self._running[0][0] - self._steps, 0), max(self._free(), 0) / len(self._running) + 1e-3)
            self._timer = self._loop.call_later(
                self._prefill + steps * step_seconds(len(self._running)), self._some_end
            )

    def _some_end(self) -> None:
        self._timer = None
        self._advance()
        while self._running and self._running[0][0] <= self._steps + 1e-6:
            sequence = heapq.heappop(self._running)[2]
            self._leave(sequence)
            self.tokens += sequence.length
            self._limit.ended(sequence.length)
            sequence.request.one_ended()
        while len(self._running) > 1 and self._free() <= 0:
            last = max(self._running, key=lambda entry: (entry[2].turn, entry[1]))
            self._running.remove(last)
            heapq.heapify(self._running)
            sequence = last[2]
            self._leave(sequence)
            sequence.made = self._steps - sequence.began
            heapq.heappush(self._waiting, (sequence.turn, sequence.order, sequence))
        self._go_on()


class _Sequence:
    def __init__(self, length: int, request: _Request, turn: int, order: int) -> None:
        self.length, self.request, self.turn, self.order = length, request, turn, order
        self.made = self.began = 0.0


class _Request:
    def __init__(self, sequences: int, prompt_tokens: int, done: asyncio.Future[None]) -> None:
        self._left, self.prompt_tokens, self.done, self.running = sequences, prompt_tokens, done, 0

    def one_ended(self) -> None:
        self._left -= 1
        if not self._left:
            self.done.set_result(None)


class Response(NamedTuple):
    """What scheduling looks at of a rollout, and whether it is right."""

    tokens: int
    prompt_tokens: int
    right: bool


class SimulatedOutcome(NamedTuple):
    """What scheduling looks at of a question's outcome."""

    pairs: int
    rollouts: list[Response]


class SimulatedEngineOfModel:
    """A simulated engine with the face of an engine: what an `EngineActor` hosts."""

    def __init__(self, model: SimulatedModel, batch: SimulatedEngine) -> None:
        self.model, self.batch, self.requests = model, batch, 0

    async def sample(self, request: SampleRequest) -> list[Response]:
        """n responses, of which each has its length."""
        self.requests += 1
        question = request.question.question_id
        lengths = self.model.lengths(request.n, request.question.source)
        await self.batch.submit(question, lengths, PROMPT_TOKENS, request.decoding.max_tokens)
        right = self.model.answers(question, request.n)
        return [Response(length, PROMPT_TOKENS, well) for length, well in zip(lengths, right, strict=True)]

    async def continue_without_image(self, request: ContinueRequest) -> Response:
        """One continuation of half of a response."""
        self.requests += 1
        lengths = [1 + self.model.lengths(1, request.question.source)[0] // 2]
        await self.batch.submit(request.question.question_id, lengths, BLIND_TOKENS, request.decoding.max_tokens)
        return Response(lengths[0], BLIND_TOKENS, False)


class Method:
    """A method of an actor, as Ray gives it: `method.remote(...)`. A message takes a while each way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[..., Awaitable[Any]]) -> None:
        self._loop, self._call = loop, call

    def remote(self, *arguments: Any) -> asyncio.Task[Any]:
        """Call it."""
        return self._loop.create_task(self._called(*arguments))

    async def _called(self, *arguments: Any) -> Any:
        await asyncio.sleep(MESSAGE)
        answer = await self._call(*arguments)
        await asyncio.sleep(MESSAGE)
        return answer


class Handle:
    """A handle of an actor, as Ray gives it. The actor is the real one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: SimulatedEngineOfModel) -> None:
        self.engine, self.busy = engine, BusyTimer(loop.time)
        actor = EngineActor(EngineSettings(name="scripted"))
        actor._engine, actor._busy = cast(Engine, engine), self.busy
        self.serve, self.work_left = Method(loop, actor.serve), Method(loop, actor.work_left)


class SimulatedModel:
    """How long responses are, and which are right."""

    def __init__(self, seed: int, tokens: int = TOKENS, most: int = MOST_TOKENS) -> None:
        self._draw, self._most = random.Random(seed), most
        self._rates: dict[str, float] = {}
        self._mean = tokens
        self.rollouts = 0

    def lengths(self, n: int, source: str) -> list[int]:
        """Tokens of n responses."""
        self.rollouts += n
        mu = math.log(self._mean * SOURCES[source]) - SIGMA**2 / 2
        return [min(self._most, max(1, int(self._draw.lognormvariate(mu, SIGMA)))) for _ in range(n)]

    def answers(self, question: str, n: int) -> list[bool]:
        """Which of n responses are right."""
        if question not in self._rates:
            self._rates[question] = self._draw.betavariate(0.5, 0.5)
        return [self._draw.random() < self._rates[question] for _ in range(n)]


async def work_question(
    question: Question, engine: Any, recipe: Recipe, strategies: Sequence[Strategy]
) -> SimulatedOutcome:
    """As `pipeline.question.work_question` goes about it, without texts: rounds, then DropNTP."""
    correct = incorrect = number = 0
    rollouts: list[Response] = []
    rules, most = recipe.sampling, recipe.pairing.max_pairs
    while True:
        sampled = correct + incorrect
        size = rules.samples - sampled
        if rules.adaptive:
            size = next_round(
                correct, incorrect, sampled,
                most=rules.samples, round_size=rules.round_size, max_pairs=most, price=rules.price,
                round_price=rules.round_price,
            )  # fmt: skip
        if not size:
            break
        request = SampleRequest.model_construct(
            question=question, prompt=question.text, prompt_version="sim@1", n=size, seed=number, round=number,
            first_index=sampled, decoding=rules.decoding,
        )  # fmt: skip
        sampled_now = await engine.sample(request)
        rollouts.extend(sampled_now)
        right = sum(response.right for response in sampled_now)
        correct, incorrect, number = correct + right, incorrect + size - right, number + 1
    if incorrect or "dropout_ntp" not in recipe.pairing.strategies:
        return SimulatedOutcome(min(most, correct * incorrect), rollouts)
    blind = ContinueRequest.model_construct(
        question=question, prompt=question.text, prompt_version="sim@1", decoding=rules.decoding
    )
    cut = recipe.pairing.dropout_pairs
    rollouts += await asyncio.gather(*(engine.continue_without_image(blind) for _ in range(cut)))
    return SimulatedOutcome(cut, rollouts)


def questions(shard: int, count: int) -> Iterator[Question]:
    """The questions of a shard."""
    for number, source in zip(range(count), cycle(SOURCES), strict=False):
        name = f"{shard}-{number}"
        yield Question.model_construct(
            question_id=name, source=source, source_id=name, text="", kind="number", images=()
        )


class InOrder:
    """Places for questions in flight, given in the order of the rows: what `--unordered` has for `workers.shard`."""

    def __init__(self, places: int) -> None:
        self._free = asyncio.Semaphore(places)

    @asynccontextmanager
    async def place(self, source: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        async with self._free:
            yield

    def ended(self, source: str, tokens: Sequence[int]) -> None:
        """See `Slots.ended`: nothing is learned."""


async def simulate(
    engines: int,
    each: int,
    adaptive: bool,
    given: int | None = None,
    tokens_mean: int = TOKENS,
    most: int = MOST_TOKENS,
    sequences: int = SEQUENCES,
    ordered: bool = True,
) -> dict[str, Any]:
    """One build: `each` questions an engine, in as many shards as there are engines, all at once."""
    loop = asyncio.get_running_loop()
    model = SimulatedModel(engines, tokens_mean, most)
    batches = [SimulatedEngine(loop, sequences, ordered) for _ in range(engines)]
    actors = [Handle(loop, SimulatedEngineOfModel(model, batch)) for batch in batches]
    info = EngineInfo(
        engine="simulated", model="8B", context=None, can_continue=True, sequences=sequences, kv_tokens=KV_TOKENS
    )
    sampling = SamplingSettings(adaptive=adaptive, decoding=Decoding(max_tokens=most))
    recipe = Recipe(sampling, PairingSettings(), 0)
    config = BuildConfig(sources=("simulated",), out="nowhere", in_flight=given, sampling=recipe.sampling)
    in_flight = cluster.in_flight(config, EnginePool(actors, info), engines) or IN_FLIGHT
    ends: list[float] = []

    async def work(shard: int) -> int:
        with patch("os.getpid", lambda: 1_000 + 7 * shard):  # each worker is a process, in a cluster
            pool = EnginePool(actors, info)
        pairs = 0
        slots = None if ordered else cast(Slots, InOrder(in_flight))
        async for outcome in outcomes(questions(shard, each), pool, recipe, in_flight, slots):
            pairs += cast(SimulatedOutcome, outcome).pairs
        ends.append(loop.time())
        return pairs

    pairs = sum(await asyncio.gather(*map(work, range(engines))))
    seconds = loop.time()
    tokens = sum(actor.engine.batch.tokens for actor in actors)
    idle_first = min(actor.busy.seconds for actor in actors)
    requests = sum(actor.engine.requests for actor in actors)
    return {
        "engines": engines,
        "sampling": "adaptive" if adaptive else "flat",
        "in_flight": in_flight,
        "questions": engines * each,
        "rollouts": model.rollouts,
        "pairs": pairs,
        "seconds": round(seconds, 1),
        "busy": round(sum(actor.busy.seconds for actor in actors) / seconds / engines, 4),
        "busy_least": round(idle_first / seconds, 4),
        "batch": round(sum(actor.engine.batch.sequence_seconds for actor in actors) / seconds / engines, 1),
        "tokens_per_s": round(tokens / seconds / engines),
        "recomputed": round(sum(actor.engine.batch.recomputed for actor in actors) / tokens, 4),
        "prompts_per_question": round(sum(actor.engine.batch.prompts for actor in actors) / (engines * each), 3),
        "first_shard_s": round(min(ends), 1),
        "requests_per_s": round(requests / seconds, 1),
    }


def run(main: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
    """Run a coroutine on a loop of simulated time."""
    with (
        patch("mmpr_pipeline.pipeline.workers.shard.work_question", work_question),
        asyncio.Runner(loop_factory=JumpingLoop) as runner,
    ):
        return runner.run(main())


HEAD = (
    "| engines | sampling | in flight | questions | rollouts | simulated | busy | least busy | batch | tokens/s each "
    "| computed again | first shard done | prompts read, each question | requests/s | reports/s |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| {row['engines']} | {row['sampling']} | {row['in_flight']}"
        f" | {row['questions']:,} | {row['rollouts']:,} | {row['seconds']:,.0f} s"
        f" | {row['busy']:.1%} | {row['busy_least']:.1%} | {row['batch']:.0f} | {row['tokens_per_s']:,.0f}"
        f" | {row['recomputed']:.1%}"
        f" | {row['first_shard_s']:,.0f} s | {row['prompts_per_question']:.2f}"
        f" | {row['requests_per_s']:,.0f} | {row['engines'] / REPORT_EVERY:,.0f} |"
    )


def main() -> None:
    """Simulate each number of engines, and print its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--questions-per-engine", type=int, default=488)
    parser.add_argument("--flat", action="store_true", help="32 rollouts for each question; else in rounds")
    parser.add_argument("--in-flight", type=int, help="questions in flight of each worker; else as in a build")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="mean tokens of a response")
    parser.add_argument("--most-tokens", type=int, default=MOST_TOKENS, help="most tokens of a response")
    parser.add_argument("--sequences", type=int, default=SEQUENCES, help="sequences that an engine decodes at once")
    parser.add_argument("--unordered", action="store_true", help="without what shortens the end of a build")
    parser.add_argument("--json", type=Path, help="file for the figures as JSON lines")
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # of questions that take long, by a clock that is not the simulated one
    print(HEAD, flush=True)
    for engines in given.engines:
        began = time.process_time()
        row = run(
            partial(
                simulate,
                engines,
                given.questions_per_engine,
                not given.flat,
                given.in_flight,
                given.tokens,
                given.most_tokens,
                given.sequences,
                not given.unordered,
            )
        )
        row["cpu_s"] = round(time.process_time() - began, 1)
        print(line(row), flush=True)
        if given.json:
            with given.json.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
