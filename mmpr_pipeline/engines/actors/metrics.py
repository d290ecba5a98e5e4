"""What engines and builds tell Prometheus, through Ray's metrics; `jobs/grafana-mmpr.json` draws it.

Ray exports each name with `ray_` before it, with the cluster's own tags. Nothing is exported, and nothing fails, where
no cluster collects metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mmpr_pipeline.engines.engine import EngineStats

ENGINE_IN_FLIGHT = "mmpr_engine_in_flight"
ENGINE_SEQUENCES = "mmpr_engine_sequences"
ENGINE_KV_USE = "mmpr_engine_kv_use"
ENGINE_BUSY_SECONDS = "mmpr_engine_busy_seconds"
ENGINE_SEQUENCE_SECONDS = "mmpr_engine_sequence_seconds"
ENGINE_CAPACITY_SECONDS = "mmpr_engine_capacity_seconds"
ENGINE_ROLLOUTS = "mmpr_engine_rollouts"
ENGINE_TOKENS = "mmpr_engine_tokens"
ENGINE_PREEMPTIONS = "mmpr_engine_preemptions"
ENGINE_PROMPT_TOKENS = "mmpr_engine_prompt_tokens"
ENGINE_CACHED_TOKENS = "mmpr_engine_cached_tokens"
QUESTIONS = "mmpr_questions"
PAIRS = "mmpr_pairs"
ROLLOUTS = "mmpr_rollouts"
TOKENS = "mmpr_tokens"
REJECTS = "mmpr_rejects"

_ENGINE_COUNTERS = {
    ENGINE_BUSY_SECONDS: "Seconds in which an engine had a request in flight.",
    ENGINE_SEQUENCE_SECONDS: "Seconds, summed over all rollouts, in which they were decoded.",
    ENGINE_CAPACITY_SECONDS: "Rollouts that an engine can decode at once, times the seconds since it was loaded.",
    ENGINE_ROLLOUTS: "Rollouts that an engine made.",
    ENGINE_TOKENS: "Tokens that an engine generated.",
    ENGINE_PREEMPTIONS: "Rollouts that lost their place in the KV cache and were computed again.",
    ENGINE_PROMPT_TOKENS: "Prompt tokens that were looked up in the prefix cache.",
    ENGINE_CACHED_TOKENS: "Prompt tokens that were there.",
}
_ENGINE_GAUGES = {
    ENGINE_IN_FLIGHT: "Requests in flight on an engine.",
    ENGINE_SEQUENCES: "Rollouts that an engine decodes now.",
    ENGINE_KV_USE: "Share of an engine's KV cache in use.",
}
COUNTERS = (*_ENGINE_COUNTERS, QUESTIONS, PAIRS, ROLLOUTS, TOKENS, REJECTS)
GAUGES = tuple(_ENGINE_GAUGES)


class EngineMeter:
    """Metrics of one engine actor."""

    def __init__(self, engine: str) -> None:
        from ray.util.metrics import Counter, Gauge

        self._gauges = {name: Gauge(name, text, tag_keys=("engine",)) for name, text in _ENGINE_GAUGES.items()}
        self._counters = {name: Counter(name, text, tag_keys=("engine",)) for name, text in _ENGINE_COUNTERS.items()}
        for metric in (*self._gauges.values(), *self._counters.values()):
            metric.set_default_tags({"engine": engine})
        self._counted: dict[str, float] = dict.fromkeys(self._counters, 0.0)

    def show(self, stats: EngineStats, busy: BusyTimer) -> None:
        """Export what has changed since the last time."""
        now = {
            ENGINE_BUSY_SECONDS: busy.seconds,
            ENGINE_SEQUENCE_SECONDS: stats.sequence_seconds,
            ENGINE_CAPACITY_SECONDS: stats.capacity * busy.alive,
            ENGINE_ROLLOUTS: stats.rollouts,
            ENGINE_TOKENS: stats.tokens,
            ENGINE_PREEMPTIONS: stats.preemptions,
            ENGINE_PROMPT_TOKENS: stats.prompt_tokens,
            ENGINE_CACHED_TOKENS: stats.cached_tokens,
        }
        for name, value in now.items():
            if value > self._counted[name]:
                self._counters[name].inc(value - self._counted[name])
                self._counted[name] = value
        levels = {ENGINE_IN_FLIGHT: busy.in_flight, ENGINE_SEQUENCES: stats.sequences, ENGINE_KV_USE: stats.kv_use}
        for name, level in levels.items():
            self._gauges[name].set(level)


class BusyTimer:
    """How long at least one request was in flight."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._born = clock()
        self._since = 0.0
        self._before = 0.0
        self.in_flight = 0

    def __enter__(self) -> None:
        if not self.in_flight:
            self._since = self._clock()
        self.in_flight += 1

    def __exit__(self, *error: Any) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self._before += self._clock() - self._since

    @property
    def seconds(self) -> float:
        """Seconds so far with a request in flight."""
        return self._before + (self._clock() - self._since if self.in_flight else 0.0)

    @property
    def alive(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._born
