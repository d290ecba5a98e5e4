"""What the marks of people say of a dataset: how precise its verdicts are, and how far people agree."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypedDict

from mmpr_pipeline.dataset.files.marks import Mark, Marks

if TYPE_CHECKING:
    from rich.console import RenderableType

Z = 1.96
"""Of a 95% interval."""

Side = Literal["correct", "incorrect"]
"""A verdict whose precision is estimated."""


class Precision(TypedDict):
    """Of a random sample of one verdict: how many were looked at and confirmed, their share, and its 95% interval
    (Wilson)."""

    checked: int
    right: int
    share: float | None
    low: float
    high: float


class Agreement(TypedDict):
    """What two people marked alike. `kappa`: Cohen's; None where it is not defined."""

    people: list[str]
    both: int
    same: int
    kappa: float | None


class MarksSummary(TypedDict):
    """`rollouts` marked; `people` with the number of their marks; `overruled`: rollouts of which the merged mark is not
    the checker's verdict; `rules`: for each rule the rollouts marked and overruled, however they were drawn."""

    rollouts: int
    people: dict[str, int]
    overruled: int
    precision: dict[Side, Precision]
    rules: dict[str, dict[str, int]]
    agreement: list[Agreement]


SIDES: tuple[Side, ...] = ("correct", "incorrect")


def marks_summary(marks: Marks) -> MarksSummary:
    """What all marks say together.

    Marks set by hand or drawn as doubtful say nothing about all verdicts, so that only the sample's count as precision.
    """
    merged = list(marks.merged().values())
    people = Counter(mark.by for mark in marks)
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    for mark in merged:
        if mark.rule:
            rules[mark.rule].update(marked=1, overruled=int(mark.outcome != mark.judged))
    by: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
    for agreement_mark in marks:
        by[agreement_mark.by][agreement_mark.question_id, agreement_mark.index] = agreement_mark.outcome
    found: list[Agreement] = []
    for one, other in combinations(sorted(by), 2):
        both = sorted(by[one].keys() & by[other].keys())
        if both:
            pairs = [(by[one][key], by[other][key]) for key in both]
            # Cohen's kappa: agreement beyond what two people who guess with the same habits would reach.
            left, right = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
            chance = sum(left[name] * right[name] for name in left) / len(pairs) ** 2
            seen = sum(a == b for a, b in pairs) / len(pairs)
            found.append({"people": [one, other], "both": len(both), "same": sum(a == b for a, b in pairs),
                          "kappa": (None if chance == 1 else (seen - chance) / (1 - chance))})  # fmt: skip
    return {
        "rollouts": len(merged),
        "people": dict(sorted(people.items())),
        "overruled": sum(1 for mark in merged if mark.judged and mark.outcome != mark.judged),
        "precision": {verdict: _precision(merged, verdict) for verdict in SIDES},
        "rules": {rule: dict(counts) for rule, counts in sorted(rules.items())},
        "agreement": found,
    }


def _precision(merged: list[Mark], verdict: Side) -> Precision:
    sample = [mark for mark in merged if mark.drawn == "sample" and mark.judged == verdict and mark.outcome != "ignore"]
    right = sum(mark.outcome == verdict for mark in sample)
    low, high = wilson_interval(right, len(sample))
    share = right / len(sample) if sample else None
    return {"checked": len(sample), "right": right, "share": share, "low": low, "high": high}


def wilson_interval(right: int, of: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share; (0, 1) where nothing was looked at."""
    if not of:
        return 0.0, 1.0
    share = right / of
    middle = (share + Z * Z / (2 * of)) / (1 + Z * Z / of)
    half = Z * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of)) / (1 + Z * Z / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def precision_text(found: MarksSummary, verdict: Side) -> str:
    """`48 of 50 (96%, 95% interval 87% to 99%)`; empty where nothing was drawn at random."""
    precise = found["precision"][verdict]
    if not precise["checked"]:
        return ""
    low, high = precise["low"], precise["high"]
    return f"{precise['right']} of {precise['checked']} ({precise['share']:.0%}, 95% interval {low:.0%} to {high:.0%})"


def marks_page(found: MarksSummary) -> RenderableType:
    """The summary for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not found["rollouts"]:
        return Text("No rollout is marked. `mmpr view OUT`, Review, is where marks are made.")
    people = ", ".join(f"{name or 'unnamed'} {number:,}" for name, number in found["people"].items())
    lines = [f"{found['rollouts']:,} rollouts marked, {found['overruled']:,} verdicts overruled ({people})"]
    for verdict in SIDES:
        said = precision_text(found, verdict) or "nothing drawn at random yet: Review, Random sample"
        lines.append(f"verdicts {verdict}, confirmed: {said}")
    for each in found["agreement"]:
        kappa = "" if each["kappa"] is None else f", Cohen's kappa {each['kappa']:.2f}"
        names = " and ".join(name or "unnamed" for name in each["people"])
        lines.append(f"{names} agree on {each['same']} of {each['both']}{kappa}")
    table = Table("rule", "marked", "overruled", box=None)
    for rule, counts in sorted(found["rules"].items(), key=lambda item: -item[1]["overruled"]):
        table.add_row(rule, f"{counts['marked']:,}", f"{counts['overruled']:,}")
    return Group(Text("\n".join(lines)), table)
