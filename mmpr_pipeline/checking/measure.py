"""How often each place where an answer is looked for is right, over labelled answers.

Every place is asked on its own, on responses that announce nothing, so that a place that stands first cannot hide what
a later one would have found. `finding.places` orders its places so that none stands before one that is surely better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from mmpr_pipeline.checking.api import match_reading
from mmpr_pipeline.checking.case import Gold
from mmpr_pipeline.checking.finding.answer import same_answer
from mmpr_pipeline.checking.finding.extract import unannounced
from mmpr_pipeline.checking.finding.places import places


@dataclass(slots=True)
class PlaceScore:
    """Verdicts on what one place found. `decided` counts correct and incorrect ones, `right` those that agree."""

    decided: int = 0
    right: int = 0
    false_positives: int = 0
    false_rejections: int = 0
    doubtful: int = 0

    def add(self, outcome: str, label: bool) -> None:
        """Count one verdict."""
        if outcome == "unparseable":
            self.doubtful += 1
            return
        self.decided += 1
        self.right += (outcome == "correct") == label
        self.false_positives += outcome == "correct" and not label
        self.false_rejections += outcome == "incorrect" and label

    @property
    def precision(self) -> float | None:
        """Share of the decided verdicts that are right; None without any."""
        return self.right / self.decided if self.decided else None

    def interval(self) -> tuple[float, float]:
        """Where the precision lies with 95% confidence (Wilson, 1927)."""
        n, z = self.decided, 1.96
        if not n:
            return 0.0, 1.0
        share = self.right / n
        middle, spread = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def measure_places(labelled: Iterable[tuple[str, Gold, bool]]) -> dict[str, dict[str, PlaceScore]]:
    """Response, gold and label of each case -> kind -> place -> how right it is on its own."""
    found: dict[str, dict[str, PlaceScore]] = {}
    for response, gold, label in labelled:
        prose = unannounced(response, gold.asked)
        if prose is None:
            continue
        kind = "number" if gold.asked.kind in ("number", "math", "list") or gold.asked.numeric else gold.asked.kind
        for rule, place in places(gold.asked):
            score = found.setdefault(kind, {}).setdefault(rule, PlaceScore())
            readings = place(prose.sentences, prose.text, gold.asked)
            if not readings:
                continue
            last = readings[-1]
            agreed = not last.hedged and all(same_answer(reading, last, gold.asked) for reading in readings)
            score.add(match_reading(last, gold)[-1].outcome if agreed else "unparseable", label)
    return found
