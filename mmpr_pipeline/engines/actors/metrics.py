"""What engines and builds tell Prometheus, through Ray's metrics; `jobs/grafana-mmpr.json` draws it.

Ray exports each name with `ray_` before it, with the cluster's own tags. Nothing is exported, and nothing fails, where
no cluster collects metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmpr_pipeline.engines.engine import EngineStats

if TYPE_CHECKING:
    from mmpr_pipeline.engines.actors.busy import Busy

ENGINE_IN_FLIGHT = "mmpr_engine_in_flight"
ENGINE_BUSY_SECONDS = "mmpr_engine_busy_seconds"
ENGINE_ROLLOUTS = "mmpr_engine_rollouts"
ENGINE_TOKENS = "mmpr_engine_tokens"
QUESTIONS = "mmpr_questions"
PAIRS = "mmpr_pairs"
ROLLOUTS = "mmpr_rollouts"
TOKENS = "mmpr_tokens"
REJECTS = "mmpr_rejects"
COUNTERS = (ENGINE_BUSY_SECONDS, ENGINE_ROLLOUTS, ENGINE_TOKENS, QUESTIONS, PAIRS, ROLLOUTS, TOKENS, REJECTS)
GAUGES = (ENGINE_IN_FLIGHT,)


class EngineMeter:
    """Metrics of one engine actor."""

    def __init__(self, engine: str) -> None:
        from ray.util.metrics import Counter, Gauge

        tags = {"engine": engine}
        self._in_flight = Gauge(ENGINE_IN_FLIGHT, "Requests in flight on an engine.", tag_keys=("engine",))
        self._in_flight.set_default_tags(tags)
        self._counters = {}
        for name, meaning in (
            (ENGINE_BUSY_SECONDS, "Seconds in which an engine had a request in flight."),
            (ENGINE_ROLLOUTS, "Rollouts that an engine made."),
            (ENGINE_TOKENS, "Tokens that an engine generated."),
        ):
            self._counters[name] = Counter(name, meaning, tag_keys=("engine",))
            self._counters[name].set_default_tags(tags)
        self._told: dict[str, float] = dict.fromkeys(self._counters, 0.0)

    def show(self, stats: EngineStats, busy: Busy) -> None:
        """Tell what has changed since the last time."""
        self._in_flight.set(busy.in_flight)
        now = {ENGINE_BUSY_SECONDS: busy.seconds, ENGINE_ROLLOUTS: stats.rollouts, ENGINE_TOKENS: stats.tokens}
        for name, value in now.items():
            if value > self._told[name]:
                self._counters[name].inc(value - self._told[name])
                self._told[name] = value
