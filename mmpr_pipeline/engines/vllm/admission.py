"""Which rollouts an engine begins next, how many it decodes at once, and what its scheduler says of itself.

    rollouts = tokens of KV cache / mean response * 1.2, beside the prompts, which the rollouts of a question share

The factor: of rollouts at all stages, about half of each is there. An engine that decodes more throws some out of its
cache when it is full, and computes them again. How long responses are is learned from those that have ended, and from
those that still run: of long thinking none ends for minutes, and by then the cache would be full.

vLLM's statistics loggers cost time for every token, so a few numbers of its scheduler (what runs, how full the KV cache
is, what was recomputed) are read once a step. One thing is set: how many rollouts run at once. Where a version of vLLM
keeps them elsewhere the numbers stay zero, and its own limit holds.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine


STAGES = 1.2

FIRST_SHARE = 0.5
"""Share of the longest response allowed that is expected before any has ended."""

MEMORY = 64
"""About this many of the latest responses decide what length is expected."""

AGES = 1.5
"""Least that a response is expected to come to, as a multiple of what those that run have now: those that end first are
the short ones."""

FEWEST = 4
REMEMBERED_QUESTIONS = 100_000


def fitting(kv_tokens: float, mean_response: float, prompt: float, stages: float = STAGES) -> int:
    """Rollouts of this mean length that a KV cache holds; a prompt of `prompt` tokens is shared by about four."""
    return int(stages * kv_tokens / (mean_response + prompt / 4))


class ActiveLimit:
    """Rollouts that one engine decodes at once: at most `most`, fewer where its cache would not hold them."""

    def __init__(self, kv_tokens: int | None, most: int) -> None:
        self._kv_tokens = kv_tokens
        self._most = most
        self._first = self._prompt = self._response = 0.0
        self._asked = self._ended = 0

    def asked(self, max_tokens: int, prompt_tokens: int) -> None:
        """A request arrived."""
        self._first = max(self._first, FIRST_SHARE * max_tokens)
        self._asked = min(self._asked + 1, MEMORY)
        self._prompt += (prompt_tokens - self._prompt) / self._asked

    def ended(self, tokens: float, responses: int = 1) -> None:
        """Responses ended, after `tokens` tokens on average."""
        self._ended = min(self._ended + responses, MEMORY)
        self._response += (tokens - self._response) * min(1.0, responses / self._ended)

    def now(self, mean_age: float = 0.0) -> int:
        """The limit, where the rollouts that run now have `mean_age` tokens of response on average."""
        if not self._kv_tokens or not self._first:
            return self._most
        expected = max(self._response if self._ended else self._first, AGES * mean_age)
        stages = 1 + (STAGES - 1) * self._ended / MEMORY  # the first rollouts begin together: all are at one stage
        return max(FEWEST, min(self._most, fitting(self._kv_tokens, expected, self._prompt, stages)))


class Turns:
    """A question's place in line, which all its requests have: a later round does not wait behind younger questions.

    Its image and prefix are in the cache now, and a question that waits at every round is the one that the whole build
    waits for at its end.
    """

    def __init__(self) -> None:
        self._turns: OrderedDict[str, int] = OrderedDict()
        self._next = 0

    def of(self, question_id: str) -> int:
        """The place; smaller goes first."""
        turn = self._turns.setdefault(question_id, self._next)
        self._next = max(self._next, turn + 1)
        self._turns.move_to_end(question_id)
        if len(self._turns) > REMEMBERED_QUESTIONS:
            self._turns.popitem(last=False)
        return turn


@dataclass
class Observed:
    """Numbers since the engine was loaded, but for the two of this moment."""

    sequences: int = 0
    """Rollouts being decoded now."""
    kv_use: float = 0.0
    """Share of the KV cache in use now."""
    sequence_seconds: float = 0.0
    preemptions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    capacity: int = 0
    """Rollouts that it decodes at once now; 0 where not known."""


class Observer:
    """Watches one engine from the thread that steps it."""

    def __init__(self, engine: LLMEngine) -> None:
        self.seen = Observed()
        self._last = time.monotonic()
        core: Any = getattr(getattr(engine, "engine_core", None), "engine_core", None)
        self._scheduler: Any = getattr(core, "scheduler", None)
        cache: Any = getattr(self._scheduler, "kv_cache_manager", None)
        self._cache = cache
        with contextlib.suppress(Exception):  # another version of vLLM
            self._count_preemptions()
            if cache.prefix_cache_stats is None:  # so that it counts prefix hits
                from vllm.v1.metrics.stats import PrefixCacheStats

                cache.prefix_cache_stats = PrefixCacheStats()
                cache.log_stats = True

    def step(self) -> None:
        """After a step."""
        now = time.monotonic()
        self.seen.sequence_seconds += self.seen.sequences * (now - self._last)
        self._last = now
        with contextlib.suppress(Exception):  # another version of vLLM
            self.seen.sequences = len(self._scheduler.running)
            self.seen.kv_use = float(self._cache.usage)
            stats = self._cache.prefix_cache_stats
            self.seen.prompt_tokens, self.seen.cached_tokens = stats.queries, stats.hits

    def admit(self, limit: ActiveLimit) -> None:
        """Let as many rollouts run as the KV cache will hold to their ends."""
        with contextlib.suppress(Exception):  # another version of vLLM
            running = self._scheduler.running
            ages = sum(request.num_output_tokens for request in running)
            self.seen.capacity = limit.now(ages / max(1, len(running)))
            self._scheduler.max_num_active_reqs = self.seen.capacity

    def idle(self) -> None:
        """Nothing is in the engine."""
        self._last = time.monotonic()
        self.seen.sequences = 0

    def _count_preemptions(self) -> None:
        preempt = self._scheduler._preempt_request

        def counted(*args: Any, **fields: Any) -> Any:
            self.seen.preemptions += 1
            return preempt(*args, **fields)

        self._scheduler._preempt_request = counted
