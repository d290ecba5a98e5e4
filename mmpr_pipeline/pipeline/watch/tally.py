"""Counting what a build has done, in the worker and over all workers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mmpr_pipeline.core.records import QuestionOutcome

Tally = Counter[str]
"""Counts by name: questions, paired, unpaired, rejected, pairs, rollouts, resumed, tokens, `why/REASON`."""


def count(tally: Tally, outcome: QuestionOutcome) -> None:
    """Add one question's outcome to a tally."""
    row = outcome.row
    tally["questions"] += 1
    tally[row.status] += 1
    tally["pairs"] += row.pairs
    tally["rollouts"] += len(outcome.rollouts)
    tally["tokens"] += row.generated_tokens
    if row.reason:
        tally[f"why/{row.reason}"] += 1


class TallyBoard:
    """The newest tally of every shard; hosted in a Ray actor. Losing it loses nothing but the progress shown."""

    def __init__(self) -> None:
        self._tallies: dict[int, Tally] = {}

    def put(self, shard: int, tally: dict[str, int]) -> None:
        """Replace a shard's tally: a shard that starts again counts again from its journal."""
        self._tallies[shard] = Counter(tally)

    def total(self) -> dict[str, Any]:
        """Sum over all shards."""
        total: Tally = Counter()
        for tally in self._tallies.values():
            total.update(tally)
        return dict(total)
