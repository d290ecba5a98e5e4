"""What a build has done, counted over all workers and reported to Ray's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mmpr_pipeline.engines.actors.metrics import PAIRS, QUESTIONS, REJECTS, ROLLOUTS, TOKENS

Tally = Counter[str]
"""Counts by name: questions, paired, unpaired, rejected, pairs, rollouts, resumed, tokens, `why/REASON`; of each source
`by/SOURCE/questions`, `/paired`, `/correct`, `/checked` (rollouts) and `by/SOURCE/why/REASON`; and, of the board's sum,
`shard/N`: questions done in a shard that is being made. All these are counted in the order of the rows, when an outcome
is written; `work/at` are questions that are being worked on now, `work/done` those whose work has ended."""


def worked(tally: Mapping[str, int]) -> tuple[int, int]:
    """Questions whose work has ended, and those that are being worked on."""
    return tally.get("work/done", tally.get("questions", 0)), tally.get("work/at", 0)


class TallyBoard:
    """The newest tally of every shard; hosted in a Ray actor. Losing it loses nothing but the progress shown."""

    def __init__(self) -> None:
        self._tallies: dict[int, Tally] = {}
        self._done: set[int] = set()
        self._total: Tally = Counter()

    def put(self, shard: int, tally: dict[str, int], done: bool = False) -> None:
        """Replace a shard's tally: a shard that starts again counts again from its journal."""
        self._total.subtract(self._tallies.get(shard, {}))
        self._tallies[shard] = Counter(tally)
        self._total.update(tally)
        (self._done.add if done else self._done.discard)(shard)

    def total(self) -> dict[str, int]:
        """Sum over all shards."""
        total = {name: value for name, value in self._total.items() if value}
        at_work = self._tallies.keys() - self._done
        return total | {f"shard/{shard}": self._tallies[shard]["questions"] for shard in sorted(at_work)}


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
