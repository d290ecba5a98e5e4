"""vLLM's own numbers, read from its scheduler: what runs, how full the KV cache is, what was recomputed.

vLLM's statistics loggers cost time for every token; these few numbers are read once a step. One thing is set: how many
rollouts run at once. Where a version of vLLM keeps them elsewhere the numbers stay zero, and its own limit holds.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.engines.vllm.admission import ActiveLimit

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine


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
