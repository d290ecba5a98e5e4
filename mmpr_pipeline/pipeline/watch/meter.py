"""A build's counts as Ray metrics."""

from __future__ import annotations

from mmpr_pipeline.engines.actors.metrics import PAIRS, QUESTIONS, REJECTS, ROLLOUTS, TOKENS


class BuildMeter:
    """Metrics of one build: its tally, told as counters. A shard that starts again counts nothing twice."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter

        self._plain = {
            "pairs": Counter(PAIRS, "Preference pairs made."),
            "rollouts": Counter(ROLLOUTS, "Rollouts checked, those of a journal included."),
            "tokens": Counter(TOKENS, "Tokens of those rollouts."),
        }
        self._questions = Counter(QUESTIONS, "Questions done with.", tag_keys=("status",))
        self._rejects = Counter(REJECTS, "Questions without a pair.", tag_keys=("reason",))
        self._told: dict[str, int] = {}

    def show(self, total: dict[str, int]) -> None:
        """Tell by how much the totals exceed the highest told before."""
        for name, value in total.items():
            more = value - self._told.get(name, 0)
            if more <= 0:
                continue
            self._told[name] = value
            if name in self._plain:
                self._plain[name].inc(more)
            elif name in ("paired", "unpaired", "rejected"):
                self._questions.inc(more, tags={"status": name})
            elif name.startswith("why/"):
                self._rejects.inc(more, tags={"reason": name.removeprefix("why/")})
